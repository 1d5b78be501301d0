"""``ganforge explore directions``: directions of largest change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganforge.cli.explore.common import (
    ClassName,
    Space,
    To,
    count_option,
    open_exploration,
    read_numbers,
    read_seed,
)
from ganforge.cli.options import Device, Out, Run, Seed, option, read_number
from ganforge.contract.errors import OptionError, nearest

if TYPE_CHECKING:
    from ganforge.explore import LatentSpace


def directions(
    context: typer.Context,
    run: Run = None,
    method: Annotated[
        str, option("--method", "Factorization of the weights, or principal components of w.", "factorise|pca")
    ] = "factorise",
    count: Annotated[str, count_option("Number of directions, one per row.")] = "5",
    strengths: Annotated[
        str, option("--strengths", "Strengths in standard deviations of the latents, one per column.", "X,X,...")
    ] = "-3,-1.5,0,1.5,3",
    space: Space = None,
    class_name: ClassName = None,
    seed: Seed = "0",
    to: To = None,
    device: Device = "auto",
    out: Out = Path("runs"),
) -> None:
    """Find the directions in which a seed's image changes most, without labels."""
    if method not in ("factorise", "pca"):
        raise OptionError(f"--method {method}: unknown method", nearest(method, ("factorise", "pca")))
    if method == "pca" and space == "z":
        raise OptionError("--method pca: z has equal variance in all directions", "omit --space")
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
