"""What all checks of a part ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.plugins.options import check_options, read_options

IMAGES = DataSpec((3, 32, 32))
"""What networks are checked on if nothing else is said."""


def require(condition: bool, message: str) -> None:
    """Refuse what does not hold, whether or not Python leaves assertions out.

    Raises:
        AssertionError: With the message.
    """
    if not condition:
        raise AssertionError(message)


def require_finite(what: str, *tensors: Tensor) -> None:
    """Refuse numbers that are not finite; see `require`."""
    for tensor in tensors:
        require(bool(tensor.isfinite().all()), f"{what} is not finite: write it in a stable form, such as softplus")


def require_options(factory: Callable[..., Any], given: dict[str, Any]) -> None:
    """Options must be readable, and survive being saved as JSON."""
    schema = read_options(factory)
    name = getattr(factory, "__name__", "it")
    settled = {**{option.name: option.default for option in schema.values()}, **given}
    again = check_options(json.loads(json.dumps(settled)), schema, name)
    require(again == settled, f"options of {name} change when they are saved as JSON: {settled} becomes {again}")
