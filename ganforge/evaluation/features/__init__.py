"""From images to features: computed once, a part at a time, and kept by all that decides them."""

from ganforge.evaluation.features.extraction import extract
from ganforge.evaluation.features.store import FeatureSet

__all__ = ["FeatureSet", "extract"]
