"""``ganforge eval``: how good a generator is, and how the number was obtained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def evaluate(
    run: RunArgument = None,
    fid: Annotated[bool, typer.Option("--fid", help="Frechet inception distance to the run's data.")] = False,
    modes: Annotated[
        bool, typer.Option("--modes", help="Modes covered, where the data say what their modes are.")
    ] = False,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples",
            metavar="N",
            help="Generated examples. For --fid 10k, and at most so many real; for --modes what papers take.",
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
            help="For --modes of stacked images. If left out, one is trained and kept in the cache.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = "0",
    truncation: Annotated[str, typer.Option("--truncation", metavar="PSI", help="Where the generator has it.")] = "1",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    out: OutOption = Path("runs"),
) -> None:
    """Evaluate a run's generator against the data that it was trained on."""
    if not (fid or modes):
        raise OptionError("no metric was named", "choose --fid or --modes")
    if fid and modes:
        raise OptionError("--fid and --modes are two metrics", "evaluate one after the other")
    if classifier and not modes:
        raise OptionError(f"--classifier {classifier}: --fid needs none", "leave it out, or give --modes")
    number = read_number(samples or "10k", int, "--samples", least=2)
    first = read_number(seed, int, "--seed", least=0)
    psi = read_number(truncation, float, "--truncation")
    weights = find_weights(run, out)
    generator, card = open_generator(weights, choose_device(device))

    from ganforge.evaluation.runs import fid_of_run, modes_of_run, open_run
    from ganforge.files import write_bytes

    trained = open_run(weights, generator, card, open_registry())
    if modes:
        count = number if samples else None
        found = modes_of_run(
            trained, count=count, seed=first, truncation=psi, classifier=classifier, progress=progress_bar, say=say
        )
        target, content, words = weights.with_name("modes.json"), found.to_json(), found.describe()
    else:
        result = fid_of_run(
            trained, count=number, seed=first, truncation=psi, weights=inception_weights, progress=progress_bar
        )
        for note in result.notes:
            say(f"note: {note}")
        target, content, words = weights.with_name("fid.json"), result.to_json(), f"FID {result.value:.4f}"
    write_bytes(target, (content + "\n").encode())
    print_result(content if as_json else f"{words}\n({target})")
