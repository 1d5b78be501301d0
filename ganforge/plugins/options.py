"""Options of parts: keyword-only arguments of a constructor, and their conversion from text."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ganforge.contract.errors import OptionError, PluginError, nearest
from ganforge.contract.schedules import Schedule


@dataclass(frozen=True)
class Option:
    """One option of a part; `help` is its line in the docstring's ``Args``.

    The annotation is bool, int, float, str, `Schedule`, a ``Literal``, a ``tuple`` of those, or one of them ``| None``.
    """

    name: str
    annotation: Any
    default: Any
    help: str

    @property
    def type_name(self) -> str:
        """Type in a user's words, such as ``int`` or ``transposed|nearest``."""
        return _describe(self.annotation)

    @property
    def shown_default(self) -> Any:
        """Default value as a user writes it."""
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default))
        if isinstance(self.default, Schedule):
            return self.default.plain()
        return "none" if self.default is None else self.default


def read_options(factory: Callable[..., Any]) -> dict[str, Option]:
    """Return the options of a class or function: its keyword-only arguments."""
    function: Any = getattr(factory, "__init__") if isinstance(factory, type) else factory  # noqa: B009
    hints = typing.get_type_hints(function)
    lines: dict[str, str] = {}
    for owner in (*reversed(getattr(factory, "__mro__", ())), factory, function):
        lines |= _argument_lines(inspect.cleandoc(owner.__doc__ or ""))
    options = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if name not in hints or parameter.default is inspect.Parameter.empty:
            raise PluginError(f"option '{name}' of {factory.__qualname__} needs an annotation and a default")
        options[name] = Option(name, hints[name], parameter.default, lines.get(name, ""))
    return options


def _argument_lines(doc: str) -> dict[str, str]:
    lines: dict[str, str] = {}
    for section in re.findall(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE):
        for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE):
            lines[name] = " ".join(text.split())
    return lines


def _describe(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return "|".join(_describe(each) for each in arguments)
    if origin is tuple:
        return f"{_describe(arguments[0])},..."
    if annotation is types.NoneType:
        return "none"
    return getattr(annotation, "__name__", str(annotation))


def check_options(options: Mapping[str, Any], schema: Mapping[str, Option], where: str) -> dict[str, Any]:
    """Convert options to their types; `where` is their owner for messages, such as ``generator 'dcgan'``."""
    checked = {}
    for name, value in options.items():
        if name not in schema:
            raise OptionError(f"{where} has no option '{name}'", nearest(name, schema))
        checked[name] = coerce(value, schema[name].annotation, f"{where}, option '{name}'")
    return checked


def coerce(value: Any, annotation: Any, where: str) -> Any:
    """Convert a value to a type; text may be ``500k``, ``true``, ``64,128``."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Literal:
        for choice in arguments:
            if value == choice or str(value) == str(choice):
                return choice
        raise OptionError(f"{where}: {value!r} is invalid", nearest(str(value), map(str, arguments)))
    if origin in (typing.Union, types.UnionType):
        if types.NoneType in arguments and (value is None or value == "none"):
            return None
        (inner,) = (each for each in arguments if each is not types.NoneType)
        return coerce(value, inner, where)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            items = [items]
        return tuple(coerce(each, arguments[0], where) for each in items)
    known = _TYPES.get(annotation)
    if known is None:
        raise PluginError(f"{where}: unsupported type {_describe(annotation)} of an option")
    try:
        return known.read(value)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise OptionError(f"{where}: {value!r} is not {known.words}", f"such as {known.example}") from None


def _read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[str(value).lower()]


def _read_int(value: Any) -> int:
    number = _read_whole(value)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError  # exceeds sizes and seeds of torch
    return number


def _read_whole(value: Any) -> int:
    if isinstance(value, str):
        with suppress(ValueError):
            return int(value)  # exact, unlike a float
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _read_float(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _read_float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str) and value.strip()[-1:].lower() in _THOUSANDS:
        value = float(value.strip()[:-1]) * _THOUSANDS[value.strip()[-1].lower()]
    number = float(value)
    if not abs(number) <= _LARGEST:
        raise ValueError
    return number


_LARGEST = 3.4e38
"""Maximum of float32."""

_THOUSANDS = {"k": 1_000, "m": 1_000_000}


def _read_str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # refuse lone surrogates, which config.json cannot hold
    return value


def _read_schedule(value: Any) -> Schedule:
    if isinstance(value, Schedule):
        return value
    if not isinstance(value, str) or ":" not in value:
        return Schedule.constant(_read_float(value))
    shape, start, end, images = value.split(":")
    length = _read_int(images)
    if shape not in ("linear", "cosine") or length < 1:
        raise ValueError
    return Schedule(_read_float(start), _read_float(end), length, "cosine" if shape == "cosine" else "linear")


class _Type(NamedTuple):
    read: Callable[[Any], Any]
    words: str
    example: str


_TYPES = {
    bool: _Type(_read_bool, "a boolean", "true or false"),
    int: _Type(_read_int, "a whole number", "64 or 500k"),
    float: _Type(_read_float, "a finite number", "0.0002"),
    str: _Type(_read_str, "text", "mnist"),
    Schedule: _Type(_read_schedule, "a number or schedule", "10, or cosine:10:1:500k"),
}
