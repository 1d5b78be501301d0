"""``ganforge explore directions``: directions of largest change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ganforge.cli.explore.common import Shared, Space, count_option, read_numbers
from ganforge.cli.options import option
from ganforge.contract.errors import OptionError, nearest

if TYPE_CHECKING:
    from ganforge.explore import LatentSpace


def directions(
    shared: Shared,
    method: Annotated[
        str, option("--method", "Factorization of the weights, or principal components of w.", "factorise|pca")
    ] = "factorise",
    count: Annotated[int, count_option("Number of directions, one per row.")] = 5,
    strengths: Annotated[
        str, option("--strengths", "Strengths in standard deviations of the latents, one per column.", "X,X,...")
    ] = "-3,-1.5,0,1.5,3",
    space: Space = None,
) -> None:
    """Find the directions in which a seed's image changes most, without labels."""
    if method not in ("factorise", "pca"):
        raise OptionError(f"--method {method}: unknown method", nearest(method, ("factorise", "pca")))
    if method == "pca" and space == "z":
        raise OptionError("--method pca: z has equal variance in all directions", "omit --space")
    amounts = read_numbers(strengths, float, "--strengths")
    here = shared.open()

    from ganforge.explore import factorise, move, principal_components

    if method == "pca":
        where: LatentSpace = here.styles()
        found = principal_components(here.styles(), count)
    else:
        where = here.space(space)
        found = factorise(where, count)
    images = move(where, shared.seed, found, amounts)
    numbers = {
        "space": where.name,
        "seed": shared.seed,
        "strengths": amounts,
        "eigenvalues": found.values.tolist(),
        "deviations": found.deviations.tolist(),
    }
    columns = [f"{each:+g}" if each else "0" for each in amounts]
    here.save_table(images, columns, numbers, [str(row + 1) for row in range(count)])
