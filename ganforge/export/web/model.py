"""What a page has to know of the network besides its graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.explore.directions import factorise, principal_components
from ganforge.explore.mixing import THIRDS, read_layers
from ganforge.explore.spaces import WSpace, open_space
from ganforge.version import __version__

_NUM_DIRECTIONS = 6


def describe_model(
    generator: Generator, card: Mapping[str, Any], texts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What controls the page has, and what it says of the network.

    Args:
        generator: The network.
        card: What its checkpoint says of it.
        texts: By part, what its graph says of itself: ``whole``, or ``mapping`` and ``synthesis``.
    """
    first, last = texts["mapping" if "mapping" in texts else "whole"], texts.get("synthesis", {})
    classes = first["class_names"] if "labels" in first["inputs"] else []
    styles = None
    if isinstance(generator, StyleGenerator):
        count = generator.num_styles
        thirds = {name: read_layers(name, count) for name in THIRDS} if count >= len(THIRDS) else {}
        parts = {name: [layers.start, layers.stop] for name, layers in thirds.items()}
        styles = {"count": count, "size": generator.w_dim, "parts": parts}
    return {
        "name": card["generator"]["name"],
        "data": card["data"].get("name", "unnamed data"),
        "images": card.get("images"),
        "shape": list(card["data"]["shape"]),
        "version": __version__,
        "z_dim": generator.z_dim,
        "class_names": classes,
        "truncation": "truncation" in first["inputs"],
        "noise": last.get("noise"),
        "styles": styles,
        "directions": find_directions(generator, 0 if classes else None),
    }


def find_directions(generator: Generator, label: int | None) -> list[list[float]]:
    """Directions in which pictures differ most, each as long as one standard deviation of latents along it.

    They are principal components of w, or in z those of the first layer's weights; where this is not affine in z, there
    are none.

    Args:
        generator: The network.
        label: The class for which they are found; None for a generator without classes.
    """
    space = open_space(generator, label=label)
    if isinstance(space, WSpace):
        found = principal_components(space, min(_NUM_DIRECTIONS, space.styles.w_dim))
    else:
        try:
            found = factorise(space, min(_NUM_DIRECTIONS, generator.z_dim))
        except OptionError:  # no layer is affine in z
            return []
    rows: list[list[float]] = (found.vectors * found.deviations[:, None]).tolist()
    return [[float(f"{number:.6g}") for number in row] for row in rows]
