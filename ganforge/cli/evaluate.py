"""``ganforge eval``: how good a generator is, and how the number was obtained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ganforge.cli.common import (
    DeviceOption,
    JsonOption,
    OutOption,
    RunArgument,
    SeedOption,
    choose_device,
    open_registry,
    print_result,
    progress_bar,
    read_number,
    say,
)
from ganforge.cli.runs import find_weights, open_generator
from ganforge.errors import OptionError

if TYPE_CHECKING:
    from ganforge.evaluation.conditional import ConditionalResult
    from ganforge.evaluation.coverage import ModesResult
    from ganforge.evaluation.runs import TrainedRun


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for beside run and metric.

    Attributes:
        count: Number of samples; None for what the metric takes.
        seed: Of the first.
        truncation: 1 for none.
        inception_weights: A file, or None.
        classifier: A file, or None.
    """

    count: int | None
    seed: int
    truncation: float
    inception_weights: Path | None
    classifier: Path | None


class Metric(NamedTuple):
    """How something is measured.

    Attributes:
        measure: Gives all of the result as JSON, and what of it is told in words.
        files: Flags for files that it can use.
    """

    measure: Callable[[TrainedRun, Request], tuple[str, str]]
    files: tuple[str, ...]


def _measure_fid(run: TrainedRun, asked: Request) -> tuple[str, str]:
    from ganforge.evaluation.runs import fid_of_run

    result = fid_of_run(
        run,
        count=asked.count or 10_000,
        seed=asked.seed,
        truncation=asked.truncation,
        weights=asked.inception_weights,
        progress=progress_bar,
    )
    for note in result.notes:
        say(f"note: {note}")
    return result.to_json(), f"FID {result.value:.4f}"


def _measure_modes(run: TrainedRun, asked: Request) -> tuple[str, str]:
    from ganforge.evaluation.coverage import modes_of_run

    return _read_by_classifier(modes_of_run, run, asked)


def _measure_conditional_accuracy(run: TrainedRun, asked: Request) -> tuple[str, str]:
    from ganforge.evaluation.conditional import conditional_accuracy_of_run

    return _read_by_classifier(conditional_accuracy_of_run, run, asked)


def _read_by_classifier(
    measure: Callable[..., ModesResult | ConditionalResult], run: TrainedRun, asked: Request
) -> tuple[str, str]:
    result = measure(
        run,
        count=asked.count,
        seed=asked.seed,
        truncation=asked.truncation,
        classifier=asked.classifier,
        progress=progress_bar,
        say=say,
    )
    return result.to_json(), result.describe()


def _measure_discriminator_accuracy(run: TrainedRun, asked: Request) -> tuple[str, str]:
    from ganforge.evaluation.discriminator import discriminator_accuracy

    if asked.count is not None:
        raise OptionError(f"--samples {asked.count}: all that was held out is classified", "leave it out")
    result = discriminator_accuracy(run.folder, run.data, open_registry(), run.device)
    return result.to_json(), result.describe()


METRICS = {
    "--fid": Metric(_measure_fid, ("--inception-weights",)),
    "--modes": Metric(_measure_modes, ("--classifier",)),
    "--conditional-accuracy": Metric(_measure_conditional_accuracy, ("--classifier",)),
    "--discriminator-accuracy": Metric(_measure_discriminator_accuracy, ()),
}
"""By the flag that asks for it; a result is kept in the run as a JSON file of that name."""


def evaluate(
    run: RunArgument = None,
    fid: Annotated[bool, typer.Option("--fid", help="Frechet inception distance to the run's data.")] = False,
    modes: Annotated[
        bool, typer.Option("--modes", help="Modes covered: classes of images, or what the data say their modes are.")
    ] = False,
    conditional_accuracy: Annotated[
        bool, typer.Option("--conditional-accuracy", help="Images that show the class asked for.")
    ] = False,
    discriminator_accuracy: Annotated[
        bool, typer.Option("--discriminator-accuracy", help="Held-out examples whose class the discriminator tells.")
    ] = False,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples",
            metavar="N",
            help="Generated examples. For --fid 10k, and at most so many real; for classes 5k; else what papers take.",
            show_default=False,
        ),
    ] = None,
    inception_weights: Annotated[
        Path | None,
        typer.Option(
            "--inception-weights",
            metavar="FILE",
            help="Weights on disk, where there is no network.",
            show_default=False,
        ),
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(
            "--classifier",
            metavar="FILE",
            help="For --modes of images and --conditional-accuracy. If left out, one is trained and cached.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = "0",
    truncation: Annotated[str, typer.Option("--truncation", metavar="PSI", help="Where the generator has it.")] = "1",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    out: OutOption = Path("runs"),
) -> None:
    """Evaluate a run against the data that it was trained on."""
    wanted = {
        "--fid": fid,
        "--modes": modes,
        "--conditional-accuracy": conditional_accuracy,
        "--discriminator-accuracy": discriminator_accuracy,
    }
    chosen = [flag for flag, given in wanted.items() if given]
    if not chosen:
        raise OptionError("no metric was named", f"choose one of: {', '.join(METRICS)}")
    if len(chosen) > 1:
        raise OptionError(f"{' and '.join(chosen)} are metrics of their own", "evaluate one after the other")
    (flag,) = chosen
    metric = METRICS[flag]
    for file, path in {"--inception-weights": inception_weights, "--classifier": classifier}.items():
        if path and file not in metric.files:
            raise OptionError(f"{file} {path}: {flag} needs none", "leave it out")
    asked = Request(
        count=read_number(samples, int, "--samples", least=2) if samples else None,
        seed=read_number(seed, int, "--seed", least=0),
        truncation=read_number(truncation, float, "--truncation"),
        inception_weights=inception_weights,
        classifier=classifier,
    )
    weights = find_weights(run, out)
    generator, card = open_generator(weights, choose_device(device))

    from ganforge.evaluation.runs import open_run
    from ganforge.files import write_bytes

    trained = open_run(weights, generator, card, open_registry())
    content, words = metric.measure(trained, asked)
    target = trained.folder.path / f"{flag.removeprefix('--')}.json"
    write_bytes(target, (content + "\n").encode())
    print_result(content if as_json else f"{words}\n({target})")
