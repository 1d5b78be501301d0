"""``ganforge explore project``: find the latent of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ganforge.cli.explore.common import Shared, Space
from ganforge.cli.options import number, option
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, progress_bar


def project(
    shared: Shared,
    image: Annotated[Path | None, option("--image", "Image to project.", "FILE")] = None,
    index: Annotated[int | None, number("--index", "Project this image of the run's data instead.", least=0)] = None,
    steps: Annotated[int, number("--steps", "Optimization steps.", least=1)] = 300,
    rate: Annotated[float, number("--rate", "Learning rate of Adam.", "X", kind=float)] = 0.05,
    space: Space = None,
) -> None:
    """Find the latent of an image by optimization; a .png shows the steps as a row, a .gif or .webp as frames."""
    if (image is None) == (index is None):
        raise OptionError("exactly one image is required", "give --image FILE, or --index N for one of the data")
    if rate <= 0:
        raise OptionError(f"--rate {rate}: the learning rate must be positive", "such as 0.05")
    here = shared.open(moves=True)

    from ganforge.explore import draw_table, project
    from ganforge.explore.pictures import encode_animation
    from ganforge.explore.targets import read_target
    from ganforge.runs.checkpoint import save_tensors

    where = here.space(space)
    if image is not None:
        target = read_target(image, tuple(here.card["data"]["shape"]))
    elif index is not None:
        data = here.open_run().data
        if index >= len(data):
            raise OptionError(f"--index {index}: {data.name} has {len(data)} images", f"the last is {len(data) - 1}")
        target = data.examples[index]
    still = here.suffix == ".png"
    with progress_bar("projecting") as progress:
        found = project(
            where, target, steps=steps, rate=rate, seed=shared.seed, frames=7 if still else 60, progress=progress
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
