"""A generator that a command of ``ganforge explore`` draws from, and the picture that it writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.cli.common import open_registry
from ganforge.core.console import print_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
        is_marked: Whether the picture has metadata that mark it as generated.
    """

    generator: Generator
    card: dict[str, Any]
    weights: Path
    target: Path
    label: Tensor | None
    arguments: list[str]
    is_marked: bool

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

    def mark(self, found: Mapping[str, Any], *, with_real: bool = False) -> bytes:
        """Return the XMP packet of a picture; empty with ``--no-marking``.

        Args:
            found: Entries of the JSON file, with the seeds.
            with_real: Whether the picture shows real images too.
        """
        from ganforge.runs.marking import name_seeds, xmp_packet

        if not self.is_marked:
            return b""
        seeds = _list_seeds([found.get(key) for key in ("seed", "seeds", "rows", "columns")])
        return xmp_packet(self.card, name_seeds(seeds), with_real=with_real)

    def save_table(
        self,
        rows: Any,
        columns: Sequence[str],
        found: Mapping[str, Any],
        names: Sequence[str] = (),
        *,
        with_real: bool = False,
    ) -> None:
        """Write a table of images with headings, and its JSON file."""
        from ganforge.core.images import encode_png
        from ganforge.explore.pictures import draw_table

        table = draw_table(rows, columns=columns, names=names)
        self.save(encode_png(table, self.mark(found, with_real=with_real)), found)

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


def _list_seeds(entry: Any) -> Iterator[int]:
    """Yield the seeds in an entry of the JSON file, without paths of codes."""
    if isinstance(entry, int):
        yield entry
    elif isinstance(entry, list | dict):
        for each in entry.values() if isinstance(entry, dict) else entry:
            yield from _list_seeds(each)
