"""Modules of PyTorch in a pickle as data, and the conversion of their weights to a network of ganforge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ganforge import CheckpointError, Record, StoredTensor

_DEEPEST = 8
"""Maximum depth of modules in modules."""


class PickledModule:
    """A module whose class stores its source code in the pickle, which is not read.

    Args:
        value: A record of ``torch_utils.persistence``.
        name: Name of the module in messages.
        depth: Number of modules around it.

    Attributes:
        kind: Name of its class.
    """

    def __init__(self, value: Any, name: str, depth: int = 0) -> None:
        self.name, self._depth = name, depth
        if not is_module(value):
            raise CheckpointError(f"{name} is no module")
        self.kind = str(value.args[0].get("class_name"))[:60]
        self._state: dict[str, Any] = value.args[0]["state"]

    def _section(self, section: str) -> dict[str, Any]:
        found = self._state.get(section)
        if not isinstance(found, dict):
            raise CheckpointError(f"{self.name} has no {section}")
        return found

    def names(self) -> list[str]:
        """Return the names of its modules."""
        return [name for name, each in self._section("_modules").items() if isinstance(name, str) and each is not None]

    def child(self, name: str) -> PickledModule:
        """Return one of its modules."""
        found = self._section("_modules").get(name)
        if self._depth >= _DEEPEST or found is None:
            raise CheckpointError(f"{self.name} has no module '{name}'")
        return PickledModule(found, f"{self.name}.{name}", self._depth + 1)

    def children(self, seen: set[int] | None = None) -> Iterator[PickledModule]:
        """Yield its modules, and theirs; raise CheckpointError if one occurs twice, as the walk could take years."""
        seen = set() if seen is None else seen
        for name in self.names():
            child = self.child(name)
            if id(child._state) in seen:
                raise CheckpointError(f"{child.name} occurs twice")
            seen.add(id(child._state))
            yield child
            yield from child.children(seen)

    def tensor(self, name: str) -> Tensor:
        """Return a parameter or a buffer in float64."""
        found = {**self._section("_buffers"), **self._section("_parameters")}.get(name)
        if not isinstance(found, StoredTensor) or not found.dtype.is_floating_point:
            raise CheckpointError(f"{self.name} has no tensor '{name}'")
        return found.load().double()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a parameter or a buffer; () if it has none."""
        found = {**self._section("_buffers"), **self._section("_parameters")}.get(name)
        return found.shape if isinstance(found, StoredTensor) else ()

    def require_shape(self, name: str, *expected: int) -> None:
        """Raise CheckpointError unless a parameter or a buffer has a shape."""
        if self.shape(name) != expected:
            raise CheckpointError(f"{self.name}.{name} has shape {self.shape(name)}, but {expected} fits the rest")

    def attributes(self) -> set[str]:
        """Return the names of all attributes."""
        return {name for name in self._state if isinstance(name, str)}

    def value(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self._state.get(name, default)

    def count(self, name: str) -> int:
        """Return an attribute that is a whole number from 0 to 65,536."""
        found = self._state.get(name)
        if type(found) is not int or not 0 <= found <= 1 << 16:
            raise CheckpointError(f"{self.name}: {name} is no number up to 65536")
        return found

    def number(self, name: str) -> float:
        """Return an attribute that is a positive number."""
        found = self._state.get(name)
        if not isinstance(found, int | float) or not 0 < found < 1e6:
            raise CheckpointError(f"{self.name} has no positive number '{name}'")
        return float(found)

    def require(self, name: str, expected: Any) -> None:
        """Raise CheckpointError unless an attribute has a value."""
        if self._state.get(name) != expected:
            raise CheckpointError(f"{self.name}: {name} is not {expected!r}, which is unsupported")


def is_module(value: Any) -> bool:
    """Return whether a value of a pickle is a record of a module with its state."""
    if not isinstance(value, Record) or not value.name.endswith("persistence._reconstruct_persistent_obj"):
        return False
    content = value.args[0] if value.args else None
    return isinstance(content, dict) and isinstance(content.get("state"), dict)


class WeightsFor:
    """Collects a ``state_dict`` for a network.

    Attributes:
        tensors: Tensors by name.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._expected = {name: (each.shape, each.dtype) for name, each in network.state_dict().items()}
        self.tensors: dict[str, Tensor] = {}

    def put(self, name: str, tensor: Tensor, source: str) -> None:
        """Set a tensor; raise CheckpointError if it has another shape."""
        if name not in self._expected:
            raise CheckpointError(f"{source} has no counterpart")
        shape, dtype = self._expected[name]
        if tensor.shape != shape:
            raise CheckpointError(f"{source} has shape {tuple(tensor.shape)}, but {tuple(shape)} fits the rest")
        self.tensors[name] = tensor.to(dtype).contiguous()

    def put_layer(self, name: str, weight: Tensor, bias: Tensor | None, source: str) -> None:
        """Set weight and bias of an equalized layer, such that it computes with exactly these."""
        layer: Any = self._network.get_submodule(name)
        self.put(f"{name}.weight", weight / layer.scale, source)
        if bias is not None:
            self.put(f"{name}.bias", bias / layer.lr_multiplier, source)

    def finish(self) -> dict[str, Tensor]:
        """Return all tensors; raise CheckpointError if some are missing."""
        missing = sorted(self._expected.keys() - self.tensors)
        if missing:
            raise CheckpointError(f"no tensor for {missing[0]}" + f" and {len(missing) - 1} more" * (len(missing) > 1))
        return self.tensors


def find_taps(module: PickledModule) -> tuple[float, ...]:
    """Return the taps along one axis of a module's low-pass filter."""
    return separate_taps(module.tensor("resample_filter"), module.name)


def separate_taps(taps: Tensor, name: str) -> tuple[float, ...]:
    """Return the taps along one axis of a filter of sum 1; raise CheckpointError if axes differ."""
    if taps.dim() not in (1, 2) or not 2 <= len(taps) <= 64:
        raise CheckpointError(f"{name}: a filter of shape {tuple(taps.shape)} is unsupported")
    if taps.dim() == 2:
        whole, taps = taps, taps.sum(1)
        if whole.shape[0] != whole.shape[1] or not torch.allclose(torch.outer(taps, taps), whole, atol=1e-6):
            raise CheckpointError(f"{name}: a filter that is not the same along both axes is unsupported")
    return tuple(taps.tolist())


def find_widths(channels: list[int]) -> tuple[int, int]:
    """Return the options ``width`` and ``max_width`` of channels from the full size down."""
    width, most = channels[0], max(channels)
    if [min(width << level, most) for level in range(len(channels))] != channels:
        raise CheckpointError(f"channels {channels} are unsupported: each size must double them up to a maximum")
    return width, most
