"""What the commands of ``ganforge explore`` share: options, and a generator that becomes a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import global_options, open_registry, read_number
from ganforge.cli.runs import find_weights, open_generator
from ganforge.cli.sample import choose_labels
from ganforge.core.console import print_result
from ganforge.core.device import choose_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ganforge.contract.networks import Generator
    from ganforge.evaluation.subjects.runs import TrainedRun
    from ganforge.explore import LatentSpace, WSpace

ToOption = Annotated[
    Path | None,
    typer.Option("--to", metavar="PATH", help="The picture. By default explore/ in the run.", show_default=False),
]
ClassOption = Annotated[
    str | None,
    typer.Option(
        "--class",
        metavar="NAME",
        help="The class of all images, by name or number, where the generator minds it. The first if left out.",
        show_default=False,
    ),
]
SpaceOption = Annotated[
    str | None,
    typer.Option("--space", metavar="z|w", help="By default w where the generator has it.", show_default=False),
]


def count_option(text: str) -> Any:
    """The option ``--count``."""
    return typer.Option("--count", metavar="N", help=text)


def seeds_option(flag: str, text: str) -> Any:
    """An option that takes seeds."""
    return typer.Option(flag, metavar="N,N,...", help=text, show_default=False)


@dataclass(frozen=True)
class Exploration:
    """A generator, where the picture goes, and how it is made again.

    Attributes:
        generator: On its device.
        card: Of its file.
        weights: Its file.
        target: The picture's file.
        label: The class of all images; None for unlabelled data.
        arguments: What stands behind ``ganforge``, every option spelt out.
    """

    generator: Generator
    card: dict[str, Any]
    weights: Path
    target: Path
    label: int | None
    arguments: list[str]

    @property
    def suffix(self) -> str:
        """How the picture's file ends."""
        return self.target.suffix.lower()

    def space(self, name: str | None) -> LatentSpace:
        """A space of that name; see `open_space`."""
        from ganforge.explore import open_space

        return open_space(self.generator, name, self.label, open_registry())

    def styles(self) -> WSpace:
        """The space of styles.

        Raises:
            OptionError: The generator has none.
        """
        from ganforge.explore import WSpace
        from ganforge.explore.capabilities import require_styles

        return WSpace(require_styles(self.generator, open_registry()), self.label)

    def open_run(self) -> TrainedRun:
        """The generator with its data; see `ganforge.evaluation.subjects.runs.open_run`."""
        from ganforge.evaluation.subjects.runs import open_run

        return open_run(self.weights, self.generator, self.card, open_registry())

    def save_table(
        self, rows: Any, columns: Sequence[str], found: Mapping[str, Any], names: Sequence[str] = ()
    ) -> None:
        """Write a table of images with headings, and what was found."""
        from ganforge.explore.pictures import draw_table, encode_picture

        self.save(encode_picture(draw_table(rows, columns=columns, names=names)), found)

    def save(self, content: bytes, found: Mapping[str, Any]) -> None:
        """Write the picture and its JSON, and print where."""
        from ganforge.explore.sidecar import write_record

        names = self.card["data"]["class_names"]
        shown = {} if self.label is None else {"class_asked_for": names[self.label]}
        write_record(self.target, content, arguments=self.arguments, generator=self.card, found={**shown, **found})
        print_result(str(self.target))


def open_exploration(
    context: typer.Context,
    run: str | None,
    to: Path | None,
    class_name: str | None,
    device: str,
    out: Path,
    *,
    is_still: bool = True,
    moves: bool = False,
) -> Exploration:
    """Find the generator, and see that it and the picture's file will do.

    Args:
        context: Of the command.
        run: As the user names it, and so are `to`, `class_name`, `device` and `out`.
        to: The picture.
        class_name: Of all images.
        device: Where to compute.
        out: The folder of all runs.
        is_still: Whether the picture may be a still one.
        moves: Whether it may be an animation.

    Raises:
        OptionError: The run, the class, the device or the kind of file is not to be had, or it makes no images.
    """
    from ganforge.explore.capabilities import require_images
    from ganforge.explore.pictures import ANIMATIONS, PICTURES, check_suffix
    from ganforge.runs.checkpoint import read_spec

    allowed = [*(PICTURES if is_still else ()), *(ANIMATIONS if moves else ())]
    if to is not None:
        check_suffix(f"--to {to}", to.suffix.lower(), allowed)
    weights = find_weights(run, out)
    generator, card = open_generator(weights, choose_device(device))
    names = card["data"]["class_names"]
    require_images(read_spec(card))
    labels = choose_labels([class_name] if class_name is not None else [], names, 1)
    words = [word for file in global_options.plugins for word in ("--plugin", str(file))]
    words += ["explore", str(context.info_name), str(weights)]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if parameter.name not in ("run", "out") and value is not None:
            words.append(f"{parameter.opts[0]}={value}")
    return Exploration(
        generator=generator,
        card=card,
        weights=weights,
        target=to or weights.parent / "explore" / f"{context.info_name}{allowed[0]}",
        label=None if labels is None else int(labels[0]),
        arguments=words,
    )


def read_numbers(text: str, kind: type[Any], flag: str, least: float | None = None) -> list[Any]:
    """Numbers with commas between them; see `read_number`."""
    return [read_number(each, kind, flag, least) for each in text.split(",")]


def read_seeds(text: str | None, flag: str, first: int, count: int) -> list[int]:
    """Seeds as a user names them; if there are none, so many from the first."""
    return list(range(first, first + count)) if text is None else read_numbers(text, int, flag, least=0)


def read_seed(text: str) -> int:
    """The number of ``--seed``."""
    seed: int = read_number(text, int, "--seed", least=0)
    return seed
