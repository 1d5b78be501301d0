"""A generator that a command of ``ganforge explore`` draws from, and the picture that it writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.cli.common import open_registry
from ganforge.core.console import print_result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from ganforge.contract.networks import Generator
    from ganforge.evaluation.subjects.runs import TrainedRun
    from ganforge.explore import LatentSpace, WSpace


@dataclass(frozen=True)
class Exploration:
    """A generator, the output picture, and the command that reproduces it.

    Attributes:
        generator: On its device.
        card: Of the generator's file.
        weights: The generator's file.
        target: Output picture.
        label: Class or condition vector ``[K]`` of all images; None for unlabeled data.
        arguments: Arguments of ``ganforge`` with every option spelled out.
    """

    generator: Generator
    card: dict[str, Any]
    weights: Path
    target: Path
    label: Tensor | None
    arguments: list[str]

    @property
    def suffix(self) -> str:
        """Suffix of the picture, in lower case."""
        return self.target.suffix.lower()

    def space(self, name: str | None) -> LatentSpace:
        """Return the space of that name; None for the default."""
        from ganforge.explore import open_space

        return open_space(self.generator, name, self.label, open_registry())

    def styles(self) -> WSpace:
        """Return the space of styles; raise OptionError if the generator has none."""
        from ganforge.explore import WSpace
        from ganforge.explore.capabilities import require_styles

        return WSpace(require_styles(self.generator, open_registry()), self.label)

    def open_run(self) -> TrainedRun:
        """Return the generator with its data."""
        from ganforge.evaluation.subjects.runs import open_run

        return open_run(self.weights, self.generator, self.card, open_registry())

    def save_table(
        self, rows: Any, columns: Sequence[str], found: Mapping[str, Any], names: Sequence[str] = ()
    ) -> None:
        """Write a table of images with headings, and its JSON file."""
        from ganforge.explore.pictures import draw_table, encode_picture

        self.save(encode_picture(draw_table(rows, columns=columns, names=names)), found)

    def save(self, content: bytes, found: Mapping[str, Any]) -> None:
        """Write the picture and its JSON file, and print the path."""
        from ganforge.explore.sidecar import write_record
        from ganforge.runs.checkpoint import read_spec

        data = read_spec(self.card)
        shown: dict[str, Any] = {}
        if self.label is not None and data.numbers:
            pairs = zip(data.numbers, self.label.tolist(), strict=True)
            shown["condition"] = {number.name: value for number, value in pairs}
        elif self.label is not None:
            shown["class_asked_for"] = data.class_names[int(self.label)]
        write_record(self.target, content, arguments=self.arguments, generator=self.card, found={**shown, **found})
        print_result(str(self.target))
