"""``ganforge explore directions``: where images change most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganforge.cli.common import DeviceOption, OutOption, RunArgument, SeedOption, read_number
from ganforge.cli.explore.common import (
    ClassOption,
    SpaceOption,
    ToOption,
    count_option,
    open_exploration,
    read_numbers,
    read_seed,
)
from ganforge.contract.errors import OptionError, nearest

if TYPE_CHECKING:
    from ganforge.explore import LatentSpace


def directions(
    context: typer.Context,
    run: RunArgument = None,
    method: Annotated[
        str,
        typer.Option("--method", metavar="factorise|pca", help="From the weights alone, or from the spread of w."),
    ] = "factorise",
    count: Annotated[str, count_option("Directions, one a row.")] = "5",
    strengths: Annotated[
        str,
        typer.Option("--strengths", metavar="X,X,...", help="One a column, in standard deviations of latents."),
    ] = "-3,-1.5,0,1.5,3",
    space: SpaceOption = None,
    class_name: ClassOption = None,
    seed: SeedOption = "0",
    to: ToOption = None,
    device: DeviceOption = "auto",
    out: OutOption = Path("runs"),
) -> None:
    """The directions in which a seed's image changes most, found without labels."""
    if method not in ("factorise", "pca"):
        raise OptionError(f"--method {method}: there is no such method", nearest(method, ("factorise", "pca")))
    if method == "pca" and space == "z":
        raise OptionError("--method pca finds nothing in z, which spreads alike in all directions", "leave --space out")
    number = read_number(count, int, "--count", least=1)
    amounts = read_numbers(strengths, float, "--strengths")
    first = read_seed(seed)
    here = open_exploration(context, run, to, class_name, device, out)

    from ganforge.explore import factorise, move, principal_components

    if method == "pca":
        where: LatentSpace = here.styles()
        found = principal_components(here.styles(), number)
    else:
        where = here.space(space)
        found = factorise(where, number)
    images = move(where, first, found, amounts)
    numbers = {
        "space": where.name,
        "seed": first,
        "strengths": amounts,
        "eigenvalues": found.values.tolist(),
        "deviations": found.deviations.tolist(),
    }
    columns = [f"{each:+g}" if each else "0" for each in amounts]
    here.save_table(images, columns, numbers, [str(row + 1) for row in range(number)])
