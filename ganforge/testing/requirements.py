"""What all checks of a part ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ganforge.options import check_options, read_options


def require(condition: bool, message: str) -> None:
    """Refuse what does not hold, whether or not Python leaves assertions out.

    Raises:
        AssertionError: With the message.
    """
    if not condition:
        raise AssertionError(message)


def require_options(factory: Callable[..., Any], given: dict[str, Any]) -> None:
    """Options must be readable, and survive being saved as JSON."""
    schema = read_options(factory)
    name = getattr(factory, "__name__", "it")
    settled = {**{option.name: option.default for option in schema.values()}, **given}
    again = check_options(json.loads(json.dumps(settled)), schema, name)
    require(again == settled, f"options of {name} change when they are saved as JSON: {settled} becomes {again}")
