"""Labels of all examples: classes or condition vectors, with their names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganforge.contract.data import Number
from ganforge.contract.errors import DataError, PluginError

Label = int | NDArray[np.float32] | None
"""Label of one example: a class, a condition vector ``[K]``, or None."""

_EXAMPLES = 16  # vectors in a card, for samples without the data


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Labels of N examples.

    Attributes:
        values: Classes int64 ``[N]`` in ``[0, len(class_names))``; vectors float32 ``[N, K]``; None for unlabeled data.
        class_names: Names of the classes; empty without.
        number_names: Names of the K numbers; empty without.
    """

    values: NDArray[Any] | None = None
    class_names: tuple[str, ...] = ()
    number_names: tuple[str, ...] = ()

    @property
    def digest(self) -> str | None:
        """SHA-256 of the values, in hexadecimal."""
        if self.values is None:
            return None
        kind = "<f4" if self.number_names else "<i8"
        return hashlib.sha256(np.ascontiguousarray(self.values, kind).data).hexdigest()

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of a manifest and of a fingerprint."""
        numbers = {"number_names": list(self.number_names)} if self.number_names else {}
        return {"class_names": list(self.class_names), **numbers}

    @classmethod
    def of(
        cls, labels: Sequence[Label], title: str, class_names: tuple[str, ...] = (), number_names: tuple[str, ...] = ()
    ) -> LabelTable:
        """Validate labels; names default to numbers.

        Raises:
            PluginError: Labels are missing, differ in kind or length, or do not fit the names.
        """
        missing = next((index for index, label in enumerate(labels) if label is None), None)
        if all(label is None for label in labels):
            names = class_names or number_names
            if names:
                raise PluginError(
                    f"{title} names {len(names)} {'classes' if class_names else 'numbers'}, "
                    "but its examples have no labels"
                )
            return cls()
        if missing is not None:
            raise PluginError(f"{title}: example {missing} has no label, others have one", "label all examples or none")
        if any(isinstance(label, np.ndarray) for label in labels):
            return cls._of_vectors(labels, title, number_names)
        count = len(class_names) or len(labels)  # without names, no more classes than examples
        for index, label in enumerate(labels):
            assert isinstance(label, int)
            if not 0 <= label < count:
                more = "" if class_names else "; set class_names for more classes"
                raise PluginError(
                    f"{title}: the label of example {index} is {label}", f"labels range from 0 to {count - 1}{more}"
                )
        numbers = np.array(labels, dtype=np.int64)
        return cls(numbers, class_names or tuple(map(str, range(int(numbers.max()) + 1))))

    @classmethod
    def _of_vectors(cls, labels: Sequence[Label], title: str, number_names: tuple[str, ...]) -> LabelTable:
        vectors, length = [], len(number_names)
        for index, label in enumerate(labels):
            if not isinstance(label, np.ndarray):
                raise PluginError(
                    f"{title}: example {index} has a class, others have condition vectors", "label all examples alike"
                )
            length = length or len(label)
            if len(label) != length:
                raise PluginError(
                    f"{title}: the condition vector of example {index} has {len(label)} numbers",
                    f"others, or number_names, have {length}",
                )
            vectors.append(label)
        names = number_names or tuple(map(str, range(length)))
        if len(set(names)) < length:
            raise PluginError(f"{title}: two numbers of the condition vector have the same name", "rename one of them")
        return cls(np.stack(vectors).astype(np.float32, copy=False), (), names)


def describe_numbers(names: Sequence[str], vectors: NDArray[np.float32]) -> tuple[Number, ...]:
    """Return names, means, deviations and examples of condition vectors ``[N, K]``.

    They are rounded to six digits, so that they do not depend on the order of sums.
    """
    means = vectors.mean(0, dtype=np.float64)
    deviations = vectors.std(0, dtype=np.float64)
    chosen = np.linspace(0, len(vectors) - 1, min(_EXAMPLES, len(vectors))).round().astype(int)
    return tuple(
        Number(name, _round(mean), _round(std) or 1.0, tuple(map(_round, column)))
        for name, mean, std, column in zip(names, means, deviations, vectors[chosen].T, strict=True)
    )


def check_vector(vector: NDArray[Any], where: str) -> NDArray[np.float32]:
    """Return a condition vector ``[K]`` as float32; raise `DataError` if a value is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = vector.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise DataError(f"{where}: its condition vector holds non-finite values", "repair or remove such examples")
    return numbers


def _round(value: float) -> float:
    return float(f"{value:.6g}")
