"""Description of the network for the page's controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import Number
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.explore.directions import factorise, principal_components
from ganforge.explore.mixing import THIRDS, read_layers
from ganforge.explore.spaces import WSpace, open_space
from ganforge.runs.checkpoint import read_spec
from ganforge.sampling import default_labels
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
    data = read_spec(card)
    takes_labels = "labels" in first["inputs"]
    labels = default_labels(1, data) if takes_labels else None
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
        "digest": card.get("digest", ""),
        "shape": list(card["data"]["shape"]),
        "version": __version__,
        "z_dim": generator.z_dim,
        "class_names": first["class_names"] if takes_labels else [],
        "numbers": [_describe_number(each) for each in data.numbers] if takes_labels else [],
        "truncation": "truncation" in first["inputs"],
        "noise": last.get("noise"),
        "styles": styles,
        "directions": find_directions(generator, None if labels is None else labels[0]),
    }


def _describe_number(number: Number) -> dict[str, Any]:
    """Return the slider of a number: the range of the examples and of one deviation, or 0 to 1; and its start."""
    shown = number.examples or (number.mean,)
    ends = (0.0, 1.0) if set(shown) <= {0.0, 1.0} else (number.mean - number.std, number.mean + number.std)
    return {"name": number.name, "low": min(*ends, *shown), "high": max(*ends, *shown), "value": shown[0]}


def find_directions(generator: Generator, label: Tensor | None) -> list[list[float]]:
    """Return directions of largest change, scaled to one standard deviation of latents.

    They are principal components of w, or in z those of the first layer's weights; empty if no layer is affine in z.

    Args:
        generator: The network.
        label: Class or condition vector ``[K]`` of the images; None for unlabeled data.
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
