"""How data differ from what a run was trained on, as far as the run wrote that down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganforge.data.store import PackedData
from ganforge.data.text import printable

_MOST_NAMED = 3


def describe_difference(recorded: Mapping[str, Any], data: PackedData) -> str:
    """How data differ from what a run recorded, from the coarse to the fine; the fingerprints come last and always.

    Args:
        recorded: What the run's generator says of its data: ``name``, ``shape``, ``class_names`` and ``fingerprint``,
            and ``num_examples`` if it is a run that wrote it down. What is missing or of another kind is not compared.
        data: What is found now.

    Returns:
        One line; empty if they are the same data.
    """
    if recorded.get("fingerprint") == data.fingerprint:
        return ""
    found = [
        _compare_counts(recorded.get("num_examples"), data),
        _compare_shapes("examples", recorded.get("shape"), data.spec.shape),
        _compare_shapes("sources", recorded.get("source_shape", []), data.spec.source_shape),
        _compare_classes(recorded.get("class_names"), data),
    ]
    told = [each for each in found if each]
    if not told:
        counted = "as many examples" if isinstance(recorded.get("num_examples"), int) else "examples"
        told = [f"{counted} of the same form and the same classes, but others or in another order"]
    then = str(recorded.get("fingerprint"))
    return "; ".join([*told, f"fingerprint {data.fingerprint[:12]} instead of {printable(then[:12])}"])


def _compare_counts(recorded: Any, data: PackedData) -> str:
    if not isinstance(recorded, int) or recorded == len(data):
        return ""
    left_out = f", as {len(data.left_out)} cannot be read and are left out" if data.left_out else ""
    return f"{len(data)} examples instead of {recorded}{left_out}"


def _compare_shapes(name: str, recorded: Any, shape: tuple[int, ...]) -> str:
    if not isinstance(recorded, list | tuple) or tuple(recorded) == shape:
        return ""
    return f"{name} {list(shape)} instead of {list(recorded)}"


def _compare_classes(recorded: Any, data: PackedData) -> str:
    if not isinstance(recorded, list | tuple) or tuple(recorded) == data.class_names:
        return ""
    if not recorded or not data.class_names:
        return f"{len(data.class_names) or 'no'} classes instead of {len(recorded) or 'none'}"
    gone = [name for name in map(str, recorded) if name not in data.class_names]
    new = [name for name in data.class_names if name not in recorded]
    if not gone and not new:
        return "the same classes in another order"
    parts = [f"classes that are {word}: {_list(names)}" for word, names in (("gone", gone), ("new", new)) if names]
    return ", ".join(parts)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{printable(name)}'" for name in names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown
