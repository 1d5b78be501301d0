"""Exploration of a trained generator's latent space.

Each method takes a `LatentSpace` from `open_space` and seeds or latents, and returns images, uint8 on the CPU.
"""

from ganforge.core.interpolation import lerp, slerp
from ganforge.explore.arithmetic import Arithmetic, calculate
from ganforge.explore.attributes import (
    AttributeMeans,
    DirectionScore,
    attribute_directions,
    attribute_means,
    score_direction,
)
from ganforge.explore.codes import read_code, save_code
from ganforge.explore.directions import Directions, factorise, move, principal_components
from ganforge.explore.dragging import Drag, drag
from ganforge.explore.features import Distance, FeatureDistance
from ganforge.explore.layer_attribution import Following, follow_layers, layout, mean_colour
from ganforge.explore.mixing import direction_in_layers, mix, mix_styles, read_layers
from ganforge.explore.noise import NoiseStudy, power_by_frequency, study_noise
from ganforge.explore.pictures import draw_table
from ganforge.explore.projection import Projection, project
from ganforge.explore.spaces import LatentSpace, Source, WPlusSpace, WSpace, ZSpace, open_space
from ganforge.explore.targets import read_target
from ganforge.explore.truncation import truncation_sweep
from ganforge.explore.walk import walk

__all__ = [
    "Arithmetic",
    "AttributeMeans",
    "DirectionScore",
    "Directions",
    "Distance",
    "Drag",
    "FeatureDistance",
    "Following",
    "LatentSpace",
    "NoiseStudy",
    "Projection",
    "Source",
    "WPlusSpace",
    "WSpace",
    "ZSpace",
    "attribute_directions",
    "attribute_means",
    "calculate",
    "direction_in_layers",
    "drag",
    "draw_table",
    "factorise",
    "follow_layers",
    "layout",
    "lerp",
    "mean_colour",
    "mix",
    "mix_styles",
    "move",
    "open_space",
    "power_by_frequency",
    "principal_components",
    "project",
    "read_code",
    "read_layers",
    "read_target",
    "save_code",
    "score_direction",
    "slerp",
    "study_noise",
    "truncation_sweep",
    "walk",
]
