"""``ganforge explore drag``: move points of an image to targets."""

from __future__ import annotations

from typing import Annotated

from ganforge.cli.explore.common import Shared, read_numbers
from ganforge.cli.explore.sources import Code, describe_sources, open_sources
from ganforge.cli.options import number, option
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, progress_bar


def drag(
    shared: Shared,
    point: Annotated[
        list[str] | None,
        option("--point", "Handle and target in pixels from the top left. Repeatable.", "X,Y:X,Y"),
    ] = None,
    steps: Annotated[int, number("--steps", "Maximum number of optimization steps.", least=1)] = 200,
    rate: Annotated[
        float, number("--rate", "Learning rate of Adam, in standard deviations of styles.", "X", kind=float)
    ] = 0.003,
    map_size: Annotated[
        int | None,
        number("--map-size", "Maximum edge of the feature map. Default: half of the image's.", least=4),
    ] = None,
    code: Code = None,
) -> None:
    """Move what is at each handle to its target, and save the moved image as a code.

    A .png shows the steps as a row, a .gif or .webp as frames.
    """
    if not point:
        raise OptionError("--point is missing", "give a handle and its target in pixels, such as --point 16,8:16,4")
    if rate <= 0:
        raise OptionError(f"--rate {rate}: the learning rate must be positive", "such as 0.003")
    handles, targets = zip(*map(_read_point, point), strict=True)
    given = shared.seed if code is None else code
    here = shared.open(moves=True)

    from ganforge.explore import WPlusSpace, drag, save_code
    from ganforge.explore.noise_maps import find_noise
    from ganforge.explore.pictures import encode_animation, enlarge

    where = WPlusSpace(here.styles().styles, here.label)
    (source,) = open_sources(here, where, [given])
    still = here.suffix == ".png"
    with progress_bar("dragging") as progress:
        found = drag(
            where,
            source,
            handles,
            targets,
            steps=steps,
            rate=rate,
            edge=map_size,
            frames=6 if still else 60,
            progress=progress,
        )
    ends = [tuple(each) for each in found.handles[-1].tolist()]
    for (x, y), (end_x, end_y), (to_x, to_y) in zip(handles, ends, targets, strict=True):
        print_result(f"{x:g},{y:g} is at {end_x:g},{end_y:g} for the target {to_x:g},{to_y:g}")
    moved = here.target.with_suffix(".safetensors")
    noise = [] if code is None else [each.detach() for each in find_noise(here.generator)]
    save_code(moved, where, found.latent, noise, here.card["digest"])
    numbers = {
        "seed": describe_sources([given])[0],
        "handles": handles,
        "targets": targets,
        "ends": ends,
        "steps": len(found.handles) - 1,
        "latent": moved.name,
    }
    if still:
        here.save_table([[*found.frames]], [f"step {each}" for each in found.frame_steps], numbers)
    else:
        frames = [enlarge(each) for each in found.frames]
        here.save(encode_animation(frames, here.suffix, here.mark(numbers)), numbers)


def _read_point(text: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Read a handle and its target."""
    pairs = [read_numbers(each, float, "--point") for each in text.split(":")]
    if [len(each) for each in pairs] != [2, 2]:
        raise OptionError(f"--point {text}: not a handle and its target", "such as --point 16,8:16,4")
    (x, y), (to_x, to_y) = pairs
    return (x, y), (to_x, to_y)
