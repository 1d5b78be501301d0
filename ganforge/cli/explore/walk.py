"""``ganforge explore walk``: interpolate between seeds."""

from __future__ import annotations

from typing import Annotated

from ganforge.cli.explore.common import Shared, Space
from ganforge.cli.explore.sources import describe_sources, open_sources, read_sources, sources_option
from ganforge.cli.options import MAX_DRAWN, number, option


def walk(
    shared: Shared,
    from_seeds: Annotated[
        str | None, sources_option("--from-seeds", "Seeds or codes to visit. Default: four from --seed.")
    ] = None,
    steps: Annotated[int, number("--steps", "Frames from one seed to the next.", least=1, most=MAX_DRAWN)] = 20,
    interpolation: Annotated[
        str | None, option("--interpolation", "Interpolation. Default: slerp in z, lerp in w.", "lerp|slerp")
    ] = None,
    space: Space = None,
) -> None:
    """Interpolate from seed to seed and back to the first, as a GIF or WebP."""
    stops = read_sources(from_seeds, "--from-seeds", shared.seed, 4)
    here = shared.open(is_still=False, moves=True)

    from ganforge.explore import walk
    from ganforge.explore.pictures import encode_animation, enlarge

    where = here.space(space)
    frames = walk(where, open_sources(here, where, stops), steps=steps, interpolation=interpolation)
    record = {"space": where.name, "seeds": describe_sources(stops), "frames": len(frames)}
    here.save(encode_animation([enlarge(each) for each in frames], here.suffix, here.mark(record)), record)
