"""The command ``ganforge wavegan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def render(
    run: Annotated[str | None, typer.Argument(help="Run: directory, name or number; the newest if not given.")] = None,
    count: Annotated[int, typer.Option(help="Number of files.", min=1, max=100_000)] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the first file; incremented per file.", min=0)] = 0,
    rate: Annotated[int | None, typer.Option(help="Samples per second. Default: of the data.", min=1)] = None,
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    to: Annotated[Path, typer.Option(help="Folder to write.")] = Path("waves"),
) -> None:
    """Write signals of a run as WAV files of 16 bits, named by seed."""
    from ganforge import OptionError, load, open_run
    from ganforge.core.atomic_files import write_bytes
    from ganforge.sampling import generate_batches

    from ganforge_wavegan.waves import wav_bytes

    opened = open_run(run, out)
    known = rate or opened.config.get("data", {}).get("rate")
    if not known:
        raise OptionError("the data of this run name no rate", "add --rate, such as --rate 16000")
    for batch in generate_batches(load(opened), count, seed=seed):
        if batch.dim() != 3:
            raise OptionError(f"this run generates {list(batch.shape[1:])}, no signals", "give a run of --arch wavegan")
        for signal in batch.cpu().numpy():
            write_bytes(to / f"seed{seed:06d}.wav", wav_bytes(signal, known))
            seed += 1
    typer.echo(to)
