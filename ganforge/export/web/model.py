"""Description of the network for the page's controls."""

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
    """Return the page's controls and texts.

    Args:
        generator: The network.
        card: Card of its checkpoint.
        texts: ``ganforge.json`` of each graph: ``whole``, or ``mapping`` and ``synthesis``.
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
    """Return directions of largest change, scaled to one standard deviation of latents.

    They are principal components of w, or in z those of the first layer's weights; empty if no layer is affine in z.

    Args:
        generator: The network.
        label: Class of the images; None without classes.
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
