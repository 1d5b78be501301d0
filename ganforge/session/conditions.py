"""Conditions of samples from text: classes by name, numbers of a condition vector by name, or rows of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError, nearest
from ganforge.core.console import say
from ganforge.data.npy import map_array
from ganforge.data.text import printable, reason_of
from ganforge.runs.folder import is_index
from ganforge.sampling import default_labels

_MOST_NAMED = 8


def labels_from_options(classes: Sequence[str], conditions: Sequence[str], data: DataSpec, count: int) -> Tensor | None:
    """Return labels of `count` samples by the options ``--class`` or ``--condition``, see `choose_conditions`.

    Raises:
        OptionError: Both are given, or see `choose_conditions`.
    """
    if classes and conditions:
        raise OptionError(f"--class {classes[0]} and --condition {conditions[0]}: two conditions", "omit one")
    if classes and data.numbers:
        example = f"such as --condition {data.numbers[0].name}=1"
        raise OptionError(f"--class {classes[0]}: this generator takes condition vectors", example)
    if classes:
        return choose_labels(classes, data.class_names, count)
    return choose_conditions(conditions, data, count)


def choose_conditions(wanted: Sequence[str], data: DataSpec, count: int) -> Tensor | None:
    """Return labels of `count` samples that cycle through the wanted conditions; by default, see `default_labels`.

    Args:
        wanted: Classes by name or number; or texts such as ``smile=1,age=0.3``, where other numbers take their mean,
            and which is printed; or ``.npy`` files of vectors ``[K]`` or ``[n, K]``.
        data: Data of the generator.
        count: Number of samples.

    Raises:
        OptionError: A class, name or value is invalid, or the generator takes no condition.
    """
    if not data.numbers:
        return choose_labels(wanted, data.class_names, count, "--condition")
    if not wanted:
        return default_labels(count, data)
    rows = torch.cat([_read_vectors(each, data) for each in wanted])
    return rows[torch.arange(count) % len(rows)]


def choose_labels(wanted: Sequence[str], names: Sequence[str], count: int, flag: str = "--class") -> Tensor | None:
    """Return labels ``[count]`` int64 that cycle through the wanted classes, or through all; None without classes.

    Raises:
        OptionError: A class is not found.
    """
    if wanted and not names:
        raise OptionError(f"{flag} {wanted[0]}: the run's data have no classes", f"omit {flag}")
    indices = []
    for each in wanted:
        if each in names:
            indices.append(names.index(each))
        elif is_index(each) and int(each) < len(names):
            indices.append(int(each))
        else:
            raise OptionError(f"{flag} {each}: class not found", nearest(each, names))
    choices = torch.tensor(indices or list(range(len(names))), dtype=torch.int64)
    return choices[torch.arange(count) % len(choices)] if len(choices) else None


def _read_vectors(text: str, data: DataSpec) -> Tensor:
    """Return the vectors ``[n, K]`` of one text."""
    if text.lower().endswith(".npy"):
        return _read_file(Path(text), len(data.numbers))
    names = [each.name for each in data.numbers]
    given: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        name = name.strip()
        if not equals:
            raise OptionError(f"--condition {text}: '{part}' is no NAME=VALUE", f"such as --condition {names[0]}=1")
        if name not in names and is_index(name) and int(name) < len(names):
            name = names[int(name)]
        if name not in names:
            raise OptionError(f"--condition {text}: '{name}' not found", nearest(name, names))
        try:
            given[name] = float(np.float32(value))
        except ValueError:
            raise OptionError(f"--condition {text}: '{value}' is no number", f"such as {name}=1") from None
        if not np.isfinite(given[name]):
            raise OptionError(f"--condition {text}: '{value}' is not finite", f"such as {name}=1")
    missing = [each for each in data.numbers if each.name not in given]
    if missing:
        shown = ", ".join(f"{each.name}={each.mean:g}" for each in missing[:_MOST_NAMED])
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        say(f"--condition {text}: means for the rest: {shown}{more}")
    return torch.tensor([[given.get(each.name, each.mean) for each in data.numbers]])


def _read_file(path: Path, length: int) -> Tensor:
    where = printable(str(path))
    try:
        vectors = np.atleast_2d(map_array(path, "r"))
    except (OSError, ValueError) as error:
        raise OptionError(f"--condition {where}: {reason_of(error)}", "give an .npy file of vectors") from error
    if vectors.ndim != 2 or vectors.shape[1] != length or vectors.dtype.kind not in "fiub":
        raise OptionError(
            f"--condition {where}: holds {vectors.dtype.name} {list(vectors.shape)}", f"give vectors [n, {length}]"
        )
    if not np.isfinite(vectors).all():
        raise OptionError(f"--condition {where}: holds non-finite values", "repair them")
    return torch.from_numpy(vectors.astype(np.float32))
