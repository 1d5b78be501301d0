"""Validation of untrusted JSON and TOML: strict types by msgspec, finite numbers, limited depth.

`ganforge.core.atomic_files.read_text` limits files to 16 MB by default, `LONGEST_LINE` lines, `LONGEST_TOML` TOML.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from typing import Annotated, Any, TypeVar

import msgspec

T = TypeVar("T")

DEEPEST = 16
"""Maximum depth of objects and arrays; files of ganforge have at most half as many."""

LONGEST_LINE = 1 << 20
"""Characters in one row of a ``.jsonl`` file."""

LONGEST_TOML = 1 << 18
"""Characters in a TOML file."""

NonNegativeInt = Annotated[int, msgspec.Meta(ge=0)]
"""An integer of at least 0."""

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
"""An integer of at least 1."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
"""A duration."""

_STRINGS = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:""")?'
    r"|'''(?:[^']++|'(?!''))*+(?:''')?"
    r'|"(?:[^"\\\n]++|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)
"""Strings and comments of TOML; each match takes linear time, also of an unterminated string."""

_DOTTED = re.compile(rf"(?<![\w-])[\w-]++(?:[ \t]*+\.[ \t]*+[\w-]++){{{DEEPEST}}}")


def decode(text: str | bytes, kind: type[T], *, null_nan: bool = False) -> T:
    """Parse JSON and convert it to a type."""
    return convert(parse_json(text, null_nan=null_nan), kind)


def parse_json(text: str | bytes, *, null_nan: bool = False) -> Any:
    """Parse JSON; `null_nan` reads NaN and Infinity as null, as older versions wrote them into ``.jsonl`` files.

    Raises:
        ValueError: Invalid JSON, a number outside int64 or float64, a lone surrogate, or more than `DEEPEST` levels.
    """
    content = text.encode() if isinstance(text, str) else text
    try:
        try:
            tree = msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            if not null_nan or not re.search(rb"NaN|Infinity", content):
                raise ValueError(str(error).partition(" - at `")[0]) from None
            tree = json.loads(content, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _require_limits(tree)
    return tree


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML in linear time.

    Raises:
        ValueError: As `parse_json`; or longer than `LONGEST_TOML`, or a key of more than `DEEPEST` parts.
    """
    if len(text) > LONGEST_TOML:
        raise ValueError(f"it is longer than {LONGEST_TOML} characters")
    if _DOTTED.search(_STRINGS.sub(lambda match: "" if match[0][0] == "#" else "s", text)):
        raise ValueError(f"a key has more than {DEEPEST} parts")  # tomllib takes quadratic time for them
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _require_limits(tree)
    return tree


def convert(tree: Any, kind: type[T]) -> T:
    """Convert parsed JSON to a type that msgspec knows, without coercion.

    Raises:
        ValueError: A field is missing, of another type or out of range; the message begins with its path.
    """
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        where = path.removesuffix("`").removeprefix("$").removeprefix(".")
        raise ValueError(f"{where}: {_plain(message)}" if where else _plain(message)) from None


def to_json(value: Any) -> str:
    """Format a value as one line of JSON that `parse_json` reads; non-finite numbers become null."""
    return json.dumps(_without_nan(value), allow_nan=False)


def _plain(message: str) -> str:
    return (message[:1].lower() + message[1:]).replace("`", "")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    return [_without_nan(each) for each in value] if isinstance(value, list | tuple) else value


def _require_limits(tree: Any, levels: int = DEEPEST, where: str = "") -> None:
    if isinstance(tree, dict | list):
        if not levels:
            raise ValueError("it is nested too deeply")
        for key, each in tree.items() if isinstance(tree, dict) else enumerate(tree):
            if isinstance(each, dict | list | int | float):
                _require_limits(each, levels - 1, f"{where}.{key}" if where else str(key))
    elif isinstance(tree, float) and not math.isfinite(tree):
        raise ValueError(f"{where or 'it'}: not a finite number")
    elif isinstance(tree, int) and not -(1 << 63) <= tree < 1 << 63:
        raise ValueError(f"{where or 'it'}: an integer of more than 64 bits")
