"""Interface of importers, which read checkpoints of other programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ganforge.contract.data import DataSpec


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Content of a foreign checkpoint, for a run directory.

    Attributes:
        generator: Name of a generator, and its `options`.
        options: Options of the generator.
        data: Specification of its examples.
        weights: ``state_dict`` of the generator; the averaged one if there are several.
        players: ``state_dict`` of ``generator`` and ``discriminator`` as trained, for ``--init-from``; options of the
            discriminator are in `settings`.
        settings: Other sections of the configuration, such as ``{"recipe": "dcgan"}``.
        images: Real images that it has seen; 0 if unknown.
        source: Facts about the origin, JSON-serializable, such as a license; recorded in the run.
        notes: Sentences about what the file holds and ganforge leaves out.
    """

    generator: str
    options: Mapping[str, Any]
    data: DataSpec
    weights: Mapping[str, Tensor]
    players: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    images: int = 0
    source: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Importer(ABC):
    """Reads a form of foreign checkpoints as data: nothing that a file names is imported or called.

    The constructor is ``__init__(self, *, options...)``.
    """

    @abstractmethod
    def recognizes(self, path: Path) -> bool:
        """Return whether a file has this form, from its content; never raise."""

    @abstractmethod
    def read(self, path: Path) -> Imported:
        """Read a file that it recognizes.

        Raises:
            CheckpointError: The file is damaged, or holds something unsupported; name it.
        """
