"""What an exporter is: a part that writes a trained generator for programs that know nothing of ganforge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ganforge.contract.networks import Generator


@dataclass(frozen=True)
class ExportReport:
    """What was written and how well it was proved.

    Attributes:
        path: The file.
        num_bytes: Its size.
        num_examples: How many things were compared with those of the network.
        worst_difference: Largest absolute difference among them.
        compared: What they were and how they came about, such as ``outputs, as loaded by another process``.
    """

    path: Path
    num_bytes: int
    num_examples: int
    worst_difference: float
    compared: str


class Exporter(ABC):
    """Writes a trained generator as a file, or a folder, of one format.

    The constructor is ``__init__(self, *, options...)``.
    """

    suffix: ClassVar[str]
    """How names of its files end, such as ``.pt``; of a folder that it writes, without a dot, such as ``-web``."""

    @abstractmethod
    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write a generator with its card, and prove that what was written is the generator.

        Args:
            generator: The network on the CPU, in evaluation mode; leave it as it is.
            card: What its checkpoint says of it. ``card["data"]`` holds ``shape`` and ``class_names``.
            path: Where to write. Put the file or folder there only once it is proved; on any error an older one stays
                as it was.

        Raises:
            GanforgeError: The network cannot be written in this format, or what was written is not the network.
        """
