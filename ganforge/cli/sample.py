"""``ganforge sample``: pictures of a trained generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganforge.cli.common import (
    DeviceOption,
    OutOption,
    RunArgument,
    SeedOption,
    choose_device,
    print_result,
    read_number,
)
from ganforge.cli.runs import find_weights, open_generator
from ganforge.errors import OptionError, nearest

if TYPE_CHECKING:
    from torch import Tensor


def sample(
    run: RunArgument = None,
    count: Annotated[str, typer.Option("--count", metavar="N", help="How many.")] = "64",
    seed: SeedOption = "0",
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", metavar="NAME", help="Only this class, by name or number. Repeatable.", show_default=False
        ),
    ] = None,
    truncation: Annotated[
        str, typer.Option("--truncation", metavar="PSI", help="Less than 1: less variety, where the generator has it.")
    ] = "1",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="PATH",
            help="A .png for one grid, or a folder for single PNGs. By default samples.png in the run.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    out: OutOption = Path("runs"),
) -> None:
    """Draw samples from a run as one grid, or as single PNG files named by their seeds."""
    number = read_number(count, int, "--count", least=1)
    first = read_number(seed, int, "--seed", least=0)
    psi = read_number(truncation, float, "--truncation")
    weights = find_weights(run, out)
    generator, card = open_generator(weights, choose_device(device))
    if len(card["data"]["shape"]) != 3:
        raise OptionError(f"{weights} makes vectors, not images", "use ganforge.generate in Python")

    import torch

    from ganforge.files import write_bytes
    from ganforge.images import grid, png_bytes, to_uint8
    from ganforge.sampling import generate_batches

    target = to or weights.with_name("samples.png")
    if target.suffix and target.suffix.lower() != ".png":
        raise OptionError(
            f"--to {target}: samples are written as PNG", f"such as {target.with_suffix('.png')}, or a folder"
        )
    labels = choose_labels(classes or [], card["data"]["class_names"], number)
    batches = generate_batches(generator, number, seed=first, labels=labels, truncation=psi)
    if target.suffix:
        write_bytes(target, png_bytes(grid(torch.cat([to_uint8(batch).cpu() for batch in batches]))))
    else:
        for batch in batches:
            for picture in to_uint8(batch).cpu():
                write_bytes(target / f"seed{first:06d}.png", png_bytes(picture))
                first += 1
    print_result(str(target))


def choose_labels(wanted: list[str], names: list[str], count: int) -> Tensor | None:
    """Labels ``[count]`` int64 that go round the wanted classes, or round all; None where there are none.

    Raises:
        OptionError: A class that the data do not have.
    """
    import torch

    if wanted and not names:
        raise OptionError(f"--class {wanted[0]}: the run's data have no classes", "leave --class out")
    indices = []
    for each in wanted:
        if each in names:
            indices.append(names.index(each))
        elif each.isdigit() and int(each) < len(names):
            indices.append(int(each))
        else:
            raise OptionError(f"--class {each}: there is no such class", nearest(each, names))
    choices = torch.tensor(indices or list(range(len(names))), dtype=torch.int64)
    return choices[torch.arange(count) % len(choices)] if len(choices) else None
