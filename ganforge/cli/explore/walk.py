"""``ganforge explore walk``: interpolate between seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.explore.common import (
    ClassName,
    Space,
    To,
    open_exploration,
    read_seed,
    read_seeds,
    seeds_option,
)
from ganforge.cli.options import MAX_DRAWN, Device, Out, Run, Seed, option, read_number


def walk(
    context: typer.Context,
    run: Run = None,
    from_seeds: Annotated[
        str | None, seeds_option("--from-seeds", "Seeds to visit. Default: four from --seed.")
    ] = None,
    steps: Annotated[str, option("--steps", "Frames from one seed to the next.", "N")] = "20",
    interpolation: Annotated[
        str | None, option("--interpolation", "Interpolation. Default: slerp in z, lerp in w.", "lerp|slerp")
    ] = None,
    space: Space = None,
    class_name: ClassName = None,
    seed: Seed = "0",
    to: To = None,
    device: Device = "auto",
    out: Out = Path("runs"),
) -> None:
    """Interpolate from seed to seed and back to the first, as a GIF or WebP."""
    stops = read_seeds(from_seeds, "--from-seeds", read_seed(seed), 4)
    number = read_number(steps, int, "--steps", least=1, most=MAX_DRAWN)
    here = open_exploration(context, run, to, class_name, device, out, is_still=False, moves=True)

    from ganforge.explore import walk
    from ganforge.explore.pictures import encode_animation, enlarge

    where = here.space(space)
    frames = walk(where, stops, steps=number, interpolation=interpolation)
    content = encode_animation([enlarge(each) for each in frames], here.suffix)
    here.save(content, {"space": where.name, "seeds": stops, "frames": len(frames)})
