"""``ganforge explore project``: the latent of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import DeviceOption, OutOption, RunArgument, SeedOption, read_number
from ganforge.cli.explore.common import ClassOption, SpaceOption, ToOption, open_exploration, read_seed
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, progress_bar


def project(
    context: typer.Context,
    run: RunArgument = None,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="The image to find.", show_default=False)
    ] = None,
    index: Annotated[
        str | None, typer.Option("--index", metavar="N", help="Instead, one of the run's data.", show_default=False)
    ] = None,
    steps: Annotated[str, typer.Option("--steps", metavar="N", help="Of the optimisation.")] = "300",
    rate: Annotated[str, typer.Option("--rate", metavar="X", help="Learning rate of Adam.")] = "0.05",
    space: SpaceOption = None,
    class_name: ClassOption = None,
    seed: SeedOption = "0",
    to: ToOption = None,
    device: DeviceOption = "auto",
    out: OutOption = Path("runs"),
) -> None:
    """Find the latent of an image by optimisation; a .png shows the search as a row, a .gif or .webp as it went."""
    if (image is None) == (index is None):
        raise OptionError("one image is to be found", "give --image FILE, or --index N for one of the data")
    place = read_number(index or "0", int, "--index", least=0)
    number = read_number(steps, int, "--steps", least=1)
    speed = read_number(rate, float, "--rate")
    if speed <= 0:
        raise OptionError(f"--rate {rate}: nothing would move", "such as 0.05")
    first = read_seed(seed)
    here = open_exploration(context, run, to, class_name, device, out, moves=True)

    from ganforge.explore import draw_table, project
    from ganforge.explore.pictures import encode_animation
    from ganforge.explore.targets import read_target
    from ganforge.runs.checkpoint import save_tensors

    where = here.space(space)
    if image is not None:
        target = read_target(image, tuple(here.card["data"]["shape"]))
    else:
        data = here.open_run().data
        if place >= len(data):
            raise OptionError(f"--index {place}: {data.name} has {len(data)} images", f"the last is {len(data) - 1}")
        target = data.examples[place]
    still = here.suffix == ".png"
    with progress_bar("projecting") as progress:
        found = project(
            where, target, steps=number, rate=speed, seed=first, frames=7 if still else 60, progress=progress
        )
    latent = here.target.with_suffix(".safetensors")
    card = {"kind": "latent", "space": where.name, "generator": here.card["digest"]}
    save_tensors(latent, {"latent": found.latent}, card)
    best = min(found.losses)
    numbers = {"space": where.name, "loss": best, "losses": found.losses, "latent": latent.name}
    print_result(f"mean squared error {best:.5f}, from {found.losses[0]:.5f}")
    if still:
        columns = ["image", *(f"step {step}" for step in found.frame_steps), "best"]
        here.save_table([[target, *found.frames, found.image]], columns, numbers)
    else:
        frames = [draw_table([[target, each]]) for each in found.frames]
        here.save(encode_animation(frames, here.suffix), numbers)
