"""Options and steps that the commands of ``ganforge explore`` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import find_weights, global_options, open_generator, open_registry
from ganforge.cli.options import Device, Out, Run, Seed, number, option, read_number
from ganforge.core.console import print_result
from ganforge.core.device import choose_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ganforge.contract.networks import Generator
    from ganforge.evaluation.subjects.runs import TrainedRun
    from ganforge.explore import LatentSpace, WSpace
    from ganforge.explore.attributes import Read

Space = Annotated[str | None, option("--space", "Latent space. Default: w if the generator has it.", "z|w")]


def count_option(text: str, most: int | None = None) -> Any:
    """Declare the option ``--count``."""
    return number("--count", text, least=1, most=most)


def seeds_option(flag: str, text: str) -> Any:
    """Declare an option that takes seeds."""
    return option(flag, text, "N,N,...")


@dataclass(frozen=True)
class Exploration:
    """A generator, the output picture, and the command that reproduces it.

    Attributes:
        generator: On its device.
        card: Of the generator's file.
        weights: The generator's file.
        target: Output picture.
        label: Class of all images; None for unlabeled data.
        arguments: Arguments of ``ganforge`` with every option spelled out.
    """

    generator: Generator
    card: dict[str, Any]
    weights: Path
    target: Path
    label: int | None
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

        names = self.card["data"]["class_names"]
        shown = {} if self.label is None else {"class_asked_for": names[self.label]}
        write_record(self.target, content, arguments=self.arguments, generator=self.card, found={**shown, **found})
        print_result(str(self.target))


@dataclass(frozen=True)
class Shared:
    """Options of every command of ``ganforge explore``."""

    context: typer.Context
    run: Run = None
    class_name: Annotated[
        str | None, option("--class", "Class of all images, by name or number. Default: the first.", "NAME")
    ] = None
    seed: Seed = 0
    to: Annotated[Path | None, option("--to", "Output picture. Default: in explore/ of the run.", "PATH")] = None
    device: Device = "auto"
    out: Out = Path("runs")

    def open(self, *, is_still: bool = True, moves: bool = False) -> Exploration:
        """Load the generator and check the output picture.

        Args:
            is_still: Whether the picture may be a still image.
            moves: Whether the picture may be an animation.

        Raises:
            OptionError: The run or class is not found, the device or file type is unsupported, or it makes no images.
        """
        from ganforge.explore.capabilities import require_images
        from ganforge.explore.pictures import ANIMATIONS, PICTURES, check_suffix
        from ganforge.runs.checkpoint import read_spec
        from ganforge.session.conditions import choose_labels

        allowed = [*(PICTURES if is_still else ()), *(ANIMATIONS if moves else ())]
        if self.to is not None:
            check_suffix(f"--to {self.to}", self.to.suffix.lower(), allowed)
        weights = find_weights(self.run, self.out)
        generator, card = open_generator(weights, choose_device(self.device))
        require_images(read_spec(card))
        classes = [] if self.class_name is None else [self.class_name]
        labels = choose_labels(classes, card["data"]["class_names"], 1)
        name = str(self.context.info_name)
        return Exploration(
            generator=generator,
            card=card,
            weights=weights,
            target=self.to or weights.parent / "explore" / f"{name}{allowed[0]}",
            label=None if labels is None else int(labels[0]),
            arguments=self._words(name, weights),
        )

    def _words(self, name: str, weights: Path) -> list[str]:
        words = [word for file in global_options.plugins for word in ("--plugin", str(file))]
        words += ["explore", name, str(weights)]
        for parameter in self.context.command.params:
            value = self.context.params.get(str(parameter.name))
            if parameter.name not in ("run", "out") and value is not None:
                words.append(f"{parameter.opts[0]}={value}")
        return words


def with_shared_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first parameter is `Shared`, the options of that class."""
    shared = signature(Shared, eval_str=True).parameters
    own = list(signature(function, eval_str=True).parameters.values())[1:]
    context, run, *rest = shared.values()

    def command(**given: Any) -> None:
        function(Shared(**{name: given.pop(name) for name in shared}), **given)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    parameters = [context, run, *own, *rest]
    command.__signature__ = signature(function).replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def declared_attributes(run: TrainedRun) -> tuple[str, ...]:
    """Return the names of the attributes that a run's data declare."""
    from ganforge.evaluation.classes import attribute_names

    return attribute_names(run.dataset, run.data.spec.num_classes)


def open_reader(run: TrainedRun, file: Path | None) -> tuple[Read, dict[str, Any]]:
    """Return a function that reads attributes in images, and the description of its classifier.

    Args:
        run: Its data declare attributes.
        file: Of a classifier; None for that of the data.
    """
    from ganforge.evaluation.classes import attribute_bits, open_for_classes
    from ganforge.evaluation.reporter import TERMINAL

    num_attributes = len(declared_attributes(run))
    judge = open_for_classes(run, file, TERMINAL)
    return lambda images: attribute_bits(judge.predict(images), num_attributes), judge.describe()


def read_numbers(text: str, kind: type[Any], flag: str, least: float | None = None) -> list[Any]:
    """Read comma-separated numbers."""
    return [read_number(each, kind, flag, least) for each in text.split(",")]


def read_seeds(text: str | None, flag: str, first: int, count: int) -> list[int]:
    """Read comma-separated seeds; None gives `count` seeds from `first`."""
    return list(range(first, first + count)) if text is None else read_numbers(text, int, flag, least=0)
