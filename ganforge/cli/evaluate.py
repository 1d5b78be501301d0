"""``ganforge eval``: how good a generator is, and how the number was obtained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
    from ganforge.evaluation.separability import SeparabilityResult


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for beside run and metric.

    Attributes:
        count: Number of samples; None for what the metric takes.
        seed: Of the first.
        truncation: 1 for none.
        inception_weights: A file, or None.
        lpips_weights: A folder, or None.
        classifier: A file, or None.
        space: A latent space, or None.
        distance: Of images, by name, or None.
    """

    count: int | None
    seed: int
    truncation: float
    inception_weights: Path | None
    lpips_weights: Path | None
    classifier: Path | None
    space: str | None
    distance: str | None


class Metric(NamedTuple):
    """How something is measured.

    Attributes:
        measure: Gives all of the result as JSON, and what of it is told in words.
        options: Flags that it can use and others cannot.
    """

    measure: Callable[[TrainedRun, Request], tuple[str, str]]
    options: tuple[str, ...]


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


def _measure_path_length(run: TrainedRun, asked: Request) -> tuple[str, str]:
    from ganforge.evaluation.path_length import path_length_of_run

    result = path_length_of_run(
        run,
        count=asked.count,
        seed=asked.seed,
        truncation=asked.truncation,
        space=asked.space,
        distance=asked.distance or "classifier",
        classifier=asked.classifier,
        inception_weights=asked.inception_weights,
        lpips_weights=asked.lpips_weights,
        progress=progress_bar,
        say=say,
    )
    return result.to_json(), result.describe()


def _measure_separability(run: TrainedRun, asked: Request) -> tuple[str, str]:
    from ganforge.evaluation.separability import separability_of_run

    return _read_by_classifier(partial(separability_of_run, space=asked.space), run, asked)


def _read_by_classifier(
    measure: Callable[..., ModesResult | ConditionalResult | SeparabilityResult], run: TrainedRun, asked: Request
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
    "--path-length": Metric(
        _measure_path_length, ("--space", "--distance", "--classifier", "--inception-weights", "--lpips-weights")
    ),
    "--separability": Metric(_measure_separability, ("--space", "--classifier")),
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
    path_length: Annotated[
        bool, typer.Option("--path-length", help="How fast images change along ways through latent space: z, and w.")
    ] = False,
    separability: Annotated[
        bool, typer.Option("--separability", help="Whether planes in latent space divide the data's attributes.")
    ] = False,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples",
            metavar="N",
            help="Generated examples. For --fid 10k, and at most so many real; for classes 5k; for ways 1k; for "
            "--separability 10k; else what papers take.",
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
            help="For metrics by a classifier. If left out, one is trained and cached.",
            show_default=False,
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space", metavar="z|w", help="For --path-length and --separability; else both.", show_default=False
        ),
    ] = None,
    distance: Annotated[
        str | None,
        typer.Option(
            "--distance",
            metavar="NAME",
            help="For --path-length: classifier, which is the default, lpips or inception.",
            show_default=False,
        ),
    ] = None,
    lpips_weights: Annotated[
        Path | None,
        typer.Option(
            "--lpips-weights",
            metavar="FOLDER",
            help="Where both files of LPIPS lie, if there is no network.",
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
        "--path-length": path_length,
        "--separability": separability,
    }
    chosen = [flag for flag, given in wanted.items() if given]
    if not chosen:
        raise OptionError("no metric was named", f"choose one of: {', '.join(METRICS)}")
    if len(chosen) > 1:
        raise OptionError(f"{' and '.join(chosen)} are metrics of their own", "evaluate one after the other")
    (flag,) = chosen
    metric = METRICS[flag]
    special = {
        "--inception-weights": inception_weights,
        "--lpips-weights": lpips_weights,
        "--classifier": classifier,
        "--space": space,
        "--distance": distance,
    }
    for option, value in special.items():
        if value is not None and option not in metric.options:
            raise OptionError(f"{option} {value}: {flag} needs none", "leave it out")
    asked = Request(
        count=read_number(samples, int, "--samples", least=2) if samples else None,
        seed=read_number(seed, int, "--seed", least=0),
        truncation=read_number(truncation, float, "--truncation"),
        inception_weights=inception_weights,
        lpips_weights=lpips_weights,
        classifier=classifier,
        space=space,
        distance=distance,
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
