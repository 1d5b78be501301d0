"""Reading somebody's JSON: whether it has the form that it should have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WORDS = {str: "text", int: "a whole number", float: "a number", dict: "a table"}


DEEPEST = 16
"""Levels of tables and lists within each other; what ganforge writes has half as many."""


def parse_json(text: str | bytes) -> Any:
    """What a text of JSON says.

    Raises:
        ValueError: It is none, or nested so deeply that no message could show it.
    """
    try:
        tree = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    require_shallow(tree)
    return tree


def require_shallow(tree: Any, levels: int = DEEPEST) -> None:
    """Refuse what has too many levels.

    Raises:
        ValueError: It has more.
    """
    if isinstance(tree, (dict, list)):
        if not levels:
            raise ValueError("it is nested too deeply")
        for each in tree.values() if isinstance(tree, dict) else tree:
            require_shallow(each, levels - 1)


class Count:
    """The form of a whole number of at least 1."""


@dataclass(frozen=True)
class Maybe:
    """A form of what may be missing or null."""

    form: Any


def find_misfit(value: Any, form: Any, where: str) -> str:
    """The first thing that does not fit, in words; empty if all fits.

    Args:
        value: What `json.loads` gave.
        form: A type, `Count`, ``[form]`` for a list of such, a mapping from key to form where further keys are free, or
            `Maybe`.
        where: What to call the value.
    """
    if isinstance(form, Maybe):
        return "" if value is None else find_misfit(value, form.form, where)
    if isinstance(form, Mapping):
        if not isinstance(value, Mapping):
            return f"{where} is no table"
        found = (find_misfit(value.get(key), each, f"{where}.{key}") for key, each in form.items())
        return next(filter(None, found), "")
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        found = (find_misfit(each, form[0], f"{where}[{index}]") for index, each in enumerate(value))
        return next(filter(None, found), "")
    if form is Count:
        return find_misfit(value, int, where) or ("" if value >= 1 else f"{where} is less than 1")
    fits = isinstance(value, (int, float) if form is float else form) and not isinstance(value, bool)
    return "" if fits else f"{where} is not {_WORDS[form]}"
