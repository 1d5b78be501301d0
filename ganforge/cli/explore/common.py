"""Options and steps that the commands of ``ganforge explore`` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import find_weights, global_options, open_generator
from ganforge.cli.explore.exploration import Exploration
from ganforge.cli.options import Device, NoMarking, Out, Run, Seed, number, option, read_number
from ganforge.core.device import choose_device

if TYPE_CHECKING:
    from ganforge.evaluation.subjects.runs import TrainedRun
    from ganforge.explore.attributes import Read

Space = Annotated[str | None, option("--space", "Latent space. Default: w if the generator has it.", "z|w")]


def count_option(text: str, most: int | None = None) -> Any:
    """Declare the option ``--count``."""
    return number("--count", text, least=1, most=most)


@dataclass(frozen=True)
class Shared:
    """Options of every command of ``ganforge explore``."""

    context: typer.Context
    run: Run = None
    class_name: Annotated[
        str | None, option("--class", "Class of all images, by name or number. Default: the first.", "NAME")
    ] = None
    condition: Annotated[
        str | None,
        option(
            "--condition",
            "Condition of all images: numbers by name, others at their mean; or an .npy. Default: that of an example.",
            "NAME=VALUE,...",
        ),
    ] = None
    seed: Seed = 0
    to: Annotated[Path | None, option("--to", "Output picture. Default: in explore/ of the run.", "PATH")] = None
    no_marking: NoMarking = False
    device: Device = "auto"
    out: Out = Path("runs")

    def open(self, *, is_still: bool = True, moves: bool = False) -> Exploration:
        """Load the generator and check the output picture.

        Args:
            is_still: Whether the picture may be a still image.
            moves: Whether the picture may be an animation.

        Raises:
            OptionError: The run, class or condition is not found, the device or file type is unsupported, or the run
                makes no images.
        """
        from ganforge.explore.capabilities import require_images
        from ganforge.explore.pictures import ANIMATIONS, PICTURES, check_suffix
        from ganforge.runs.checkpoint import read_spec
        from ganforge.runs.shipped import output_folder
        from ganforge.session.conditions import labels_from_options

        allowed = [*(PICTURES if is_still else ()), *(ANIMATIONS if moves else ())]
        if self.to is not None:
            check_suffix(f"--to {self.to}", self.to.suffix.lower(), allowed)
        weights = find_weights(self.run, self.out)
        generator, card = open_generator(weights, choose_device(self.device))
        data = read_spec(card)
        require_images(data)
        classes, conditions = ([] if each is None else [each] for each in (self.class_name, self.condition))
        labels = labels_from_options(classes, conditions, data, 1)
        name = str(self.context.info_name)
        return Exploration(
            generator=generator,
            card=card,
            weights=weights,
            target=self.to or output_folder(weights.parent, self.out) / "explore" / f"{name}{allowed[0]}",
            label=None if labels is None else labels[0],
            arguments=self._words(name, weights),
            is_marked=not self.no_marking,
        )

    def _words(self, name: str, weights: Path) -> list[str]:
        words = [word for file in global_options.plugins for word in ("--plugin", str(file))]
        words += ["explore", name, str(weights)]
        for parameter in self.context.command.params:
            value = self.context.params.get(str(parameter.name))
            if parameter.name in ("run", "out") or value is None or value is False:
                continue
            if value is True:
                words.append(parameter.opts[0])
            else:
                values = value if isinstance(value, list | tuple) else [value]
                words += [f"{parameter.opts[0]}={each}" for each in values]
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
