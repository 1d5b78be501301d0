"""Settings with help and limits, as fields of a dataclass."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

from ganforge.contract.errors import OptionError, nearest
from ganforge.contract.schedules import Schedule
from ganforge.plugins.options import coerce


def setting(default: Any, help: str, **limits: float) -> Any:
    """Declare a field; `limits` as for `check_range`."""
    return field(default=default, metadata={"help": help, "limits": limits})


def read_settings(kind: type[Any], given: Mapping[str, Any], section: str) -> Any:
    """Create a dataclass of settings from text or typed values."""
    hints = typing.get_type_hints(kind)
    known = {each.name: each for each in fields(kind)}
    values = {}
    for name, value in given.items():
        if name not in known:
            raise OptionError(f"{section} has no setting '{name}'", nearest(name, known))
        where = f"{section}.{name}"
        values[name] = check_range(where, coerce(value, hints[name], where), **known[name].metadata["limits"])
    return kind(**values)


def check_range(
    where: str,
    value: Any,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> Any:
    """Return the value if it lies in [least, most] and in (above, below); texts and None always pass."""
    if value is None or isinstance(value, str):
        return value
    for number in (value.start, value.end) if isinstance(value, Schedule) else (value,):
        if least is not None and number < least:
            raise OptionError(f"{where}: {number:g} is too small", f"the least is {least}")
        if above is not None and number <= above:
            raise OptionError(f"{where}: {number:g} is too small", f"it must be above {above}")
        if below is not None and number >= below:
            raise OptionError(f"{where}: {number:g} is too large", f"it must be below {below}")
        if most is not None and number > most:
            raise OptionError(f"{where}: {number:g} is too large", f"the most is {most}")
    return value
