"""``ganforge explore walk``: interpolate between seeds."""

from __future__ import annotations

from typing import Annotated

from ganforge.cli.explore.common import Shared, Space, read_seeds, seeds_option
from ganforge.cli.options import MAX_DRAWN, number, option


def walk(
    shared: Shared,
    from_seeds: Annotated[
        str | None, seeds_option("--from-seeds", "Seeds to visit. Default: four from --seed.")
    ] = None,
    steps: Annotated[int, number("--steps", "Frames from one seed to the next.", least=1, most=MAX_DRAWN)] = 20,
    interpolation: Annotated[
        str | None, option("--interpolation", "Interpolation. Default: slerp in z, lerp in w.", "lerp|slerp")
    ] = None,
    space: Space = None,
) -> None:
    """Interpolate from seed to seed and back to the first, as a GIF or WebP."""
    stops = read_seeds(from_seeds, "--from-seeds", shared.seed, 4)
    here = shared.open(is_still=False, moves=True)

    from ganforge.explore import walk
    from ganforge.explore.pictures import encode_animation, enlarge

    where = here.space(space)
    frames = walk(where, stops, steps=steps, interpolation=interpolation)
    content = encode_animation([enlarge(each) for each in frames], here.suffix)
    here.save(content, {"space": where.name, "seeds": stops, "frames": len(frames)})
