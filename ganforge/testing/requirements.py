"""Requirements shared by all checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.schedules import Schedule
from ganforge.plugins.options import check_options, read_options

IMAGES = DataSpec((3, 32, 32))  # default format of the data in checks of networks


def require(condition: bool, message: str) -> None:
    """Raise `AssertionError` with a message unless a condition holds, even if Python disables assertions."""
    if not condition:
        raise AssertionError(message)


def require_finite(what: str, *tensors: Tensor) -> None:
    """Require finite values."""
    for tensor in tensors:
        require(bool(tensor.isfinite().all()), f"{what} is not finite: use a numerically stable form, such as softplus")


def require_options(factory: Callable[..., Any], given: dict[str, Any]) -> None:
    """Require a class or function, with options that can be read and saved as JSON."""
    is_factory = isinstance(factory, type | partial) or hasattr(factory, "__name__")
    require(is_factory, f"give the class {type(factory).__name__}, not an object of it")
    schema = read_options(factory)
    name = getattr(factory, "__name__", "it")
    settled = {**{option.name: option.default for option in schema.values()}, **given}
    again = check_options(json.loads(json.dumps(settled, default=Schedule.plain)), schema, name)
    require(again == settled, f"options of {name} change when they are saved as JSON: {settled} becomes {again}")
