"""Interface of exporters, which write a trained generator for programs without ganforge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ganforge.contract.networks import Generator


@dataclass(frozen=True)
class ExportReport:
    """Result of an export and its verification.

    Attributes:
        path: The file.
        num_bytes: Size in bytes.
        num_examples: Number of outputs that were compared with those of the network.
        worst_difference: Largest absolute difference.
        compared: Description of the comparison, such as ``outputs, as loaded by another process``.
    """

    path: Path
    num_bytes: int
    num_examples: int
    worst_difference: float
    compared: str


class Exporter(ABC):
    """Writes a trained generator as a file or folder of one format.

    The constructor is ``__init__(self, *, options...)``.
    """

    suffix: ClassVar[str]
    """Suffix of its files, such as ``.pt``; for a folder without a dot, such as ``-web``."""

    @abstractmethod
    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write a generator with its card, and verify the result against the generator.

        Args:
            generator: Network on the CPU, in evaluation mode; must stay unchanged.
            card: Description from its checkpoint. ``card["data"]`` holds ``shape`` and ``class_names``.
            path: Target. Move the file or folder there only after verification; keep an older one on any error.

        Raises:
            GanforgeError: The format does not support the network, or verification failed.
        """
