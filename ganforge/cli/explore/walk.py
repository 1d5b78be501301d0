"""``ganforge explore walk``: from seed to seed and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import MOST_SHOWN, DeviceOption, OutOption, RunArgument, SeedOption, read_number
from ganforge.cli.explore.common import (
    ClassOption,
    SpaceOption,
    ToOption,
    open_exploration,
    read_seed,
    read_seeds,
    seeds_option,
)


def walk(
    context: typer.Context,
    run: RunArgument = None,
    from_seeds: Annotated[
        str | None, seeds_option("--from-seeds", "Where to stop. Four from --seed if left out.")
    ] = None,
    steps: Annotated[str, typer.Option("--steps", metavar="N", help="Frames from one seed to the next.")] = "20",
    interpolation: Annotated[
        str | None,
        typer.Option(
            "--interpolation", metavar="lerp|slerp", help="By default slerp in z, lerp in w.", show_default=False
        ),
    ] = None,
    space: SpaceOption = None,
    class_name: ClassOption = None,
    seed: SeedOption = "0",
    to: ToOption = None,
    device: DeviceOption = "auto",
    out: OutOption = Path("runs"),
) -> None:
    """Walk from seed to seed and back to the first, as a GIF or WebP."""
    stops = read_seeds(from_seeds, "--from-seeds", read_seed(seed), 4)
    number = read_number(steps, int, "--steps", least=1, most=MOST_SHOWN)
    here = open_exploration(context, run, to, class_name, device, out, is_still=False, moves=True)

    from ganforge.explore import walk
    from ganforge.explore.pictures import encode_animation, enlarge

    where = here.space(space)
    frames = walk(where, stops, steps=number, interpolation=interpolation)
    content = encode_animation([enlarge(each) for each in frames], here.suffix)
    here.save(content, {"space": where.name, "seeds": stops, "frames": len(frames)})
