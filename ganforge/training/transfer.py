"""Transfer learning: initial weights of a run from the layers of another that agree in name and shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ganforge.contract.errors import CheckpointError
from ganforge.contract.networks import Discriminator
from ganforge.runs.origin import derive_origin, describe_origin
from ganforge.training.state import TrainingState, select

MOST_NAMES = 6
"""Maximum number of new layers that a message names."""


@dataclass(frozen=True)
class Match:
    """Layers of a network that agree with those of another, and the layers that do not, by name.

    Attributes:
        weights: Tensors of the layers that agree, under the names of the network.
        taken: Names of these layers.
        new: Names of the other layers.
    """

    weights: Mapping[str, Tensor]
    taken: tuple[str, ...]
    new: tuple[str, ...]


def match_layers(own: Mapping[str, Tensor], given: Mapping[str, Tensor], *, from_end: bool = False) -> Match:
    """Find the layers of a ``state_dict`` that have the same tensors, by name and shape, in another one.

    Numbers in names are positions. The layers of a generator begin at the smallest maps, so equal positions have maps
    of equal size at every resolution. A discriminator ends at the smallest maps: its positions count `from_end`.
    """
    ours, theirs = (_group(each, from_end) for each in (own, given))
    weights: dict[str, Tensor] = {}
    taken, new = [], []
    for key, layer in ours.items():
        other = theirs.get(key, {})
        name = _layer_of(next(iter(layer.values())))
        if layer.keys() == other.keys() and all(own[layer[at]].shape == given[other[at]].shape for at in layer):
            weights |= {layer[at]: given[other[at]] for at in layer}
            taken.append(name)
        else:
            new.append(name)
    return Match(weights, tuple(taken), tuple(new))


def init_from(state: TrainingState, path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """Copy the layers of a checkpoint, or of a saved generator, that agree with a new run's; return a message.

    Raises:
        CheckpointError: No layer agrees, or a weight is not finite.
    """
    is_generator = card.get("kind") == "generator"
    matches: dict[str, Match] = {}
    for name, module in state.modules().items():
        kind, _, key = name.partition(".")
        if kind not in ("generator", "discriminator", "network", "average") or not module.state_dict():
            continue
        network = (f"network.{key}" if key else "generator") if kind == "average" else name
        given = select(tensors, name) or select(tensors, network)
        if is_generator:
            given = dict(tensors) if network == "generator" else {}
        match = match_layers(module.state_dict(), given, from_end=isinstance(module, Discriminator))
        _require_finite(path, match.weights)
        weights = {**module.state_dict(), **match.weights}
        if kind == "average":  # its frozen layers are those of its network
            weights |= {
                each: of for each, of in matches[network].weights.items() if f"{network}/{each}" in state.frozen
            }
        else:
            matches[name] = match
        module.load_state_dict(weights)
    if not any(match.taken for match in matches.values()):
        raise CheckpointError(
            f"{path}: no layer agrees with this run's networks in name and shape",
            "use the --arch, options and resolution of that run",
        )
    state.origin = derive_origin(card)
    seen = f"{card.get('images', 'unknown')} images"
    terms = f", license {describe_origin(state.origin)['license']}" if "imported" in state.origin else ""
    return f"initialized from {path}, which has seen {seen}{terms}: {_describe(matches)}"


def _group(tensors: Mapping[str, Tensor], from_end: bool) -> dict[str, dict[str, str]]:
    """Return names of tensors by layer and by name in the layer, with the positions that `match_layers` compares."""
    lengths: dict[str, int] = defaultdict(int)
    for name in tensors:
        parts = name.split(".")
        for index, part in enumerate(parts):
            if part.isdecimal():
                prefix = ".".join(parts[:index])
                lengths[prefix] = max(lengths[prefix], int(part) + 1)
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for name in tensors:
        parts = name.split(".")
        if from_end:
            parts = [
                str(int(part) - lengths[".".join(parts[:index])]) if part.isdecimal() else part
                for index, part in enumerate(parts)
            ]
        placed = ".".join(parts)
        groups[_layer_of(placed)][placed] = name
    return groups


def _layer_of(name: str) -> str:
    """Return the layer of a tensor, with all tensors of a parametrized weight; a tensor of the network is its own."""
    name, _, inside = name.partition(".parametrizations.")
    return name if inside else name.rpartition(".")[0] or name


def _require_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    for name, each in weights.items():
        if each.is_floating_point() and not each.isfinite().all():
            raise CheckpointError(f"{path}: weights are not finite (NaN or infinite) in '{name}'", "use another file")


def _describe(matches: Mapping[str, Match]) -> str:
    """Describe how many layers of each network were taken, and which are new."""
    counts = ", ".join(
        f"{name} {len(match.taken)} of {len(match.taken) + len(match.new)} layers" for name, match in matches.items()
    )
    new = [f"{name} {layer}".strip() for name, match in matches.items() for layer in _shorten(match.new, match.taken)]
    more = f" and {len(new) - MOST_NAMES} more" if len(new) > MOST_NAMES else ""
    return f"{counts}; new: {', '.join(new[:MOST_NAMES])}{more}" if new else counts


def _shorten(new: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return the names of new layers; one name for all layers of a module that has no other layers."""
    kept = {".".join(parts[:end]) for each in taken for parts in [each.split(".")] for end in range(len(parts) + 1)}
    short = []
    for each in new:
        parts = each.split(".")
        ends = (end for end in range(len(parts) + 1) if ".".join(parts[:end]) not in kept)
        short.append(".".join(parts[: next(ends, len(parts))]))
    return list(dict.fromkeys(short))
