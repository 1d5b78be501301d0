"""``ganforge explore directions``: directions of largest change, or of attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from ganforge.cli.explore.arith import check_attribute
from ganforge.cli.explore.common import Shared, Space, count_option, open_reader, read_numbers
from ganforge.cli.explore.sources import Code, describe_sources, open_sources
from ganforge.cli.options import MAX_MEASURED, Classifier, number, option
from ganforge.contract.errors import OptionError, nearest

if TYPE_CHECKING:
    from ganforge.explore import LatentSpace


def directions(
    shared: Shared,
    method: Annotated[
        str, option("--method", "Factorization of the weights, or principal components of w.", "factorise|pca")
    ] = "factorise",
    count: Annotated[int, count_option("Number of directions, one per row.")] = 5,
    attributes: Annotated[
        str | None,
        option("--attributes", "Directions of these attributes of the data instead, one per row.", "NAME,NAME,..."),
    ] = None,
    candidates: Annotated[
        int, number("--candidates", "Images that are classified to find attributes.", least=2, most=MAX_MEASURED)
    ] = 1000,
    classifier: Classifier = None,
    strengths: Annotated[
        str, option("--strengths", "Strengths in standard deviations of the latents, one per column.", "X,X,...")
    ] = "-3,-1.5,0,1.5,3",
    code: Code = None,
    space: Space = None,
) -> None:
    """Move a seed's image or a code in the directions of largest change, without labels, or of attributes."""
    if method not in ("factorise", "pca"):
        raise OptionError(f"--method {method}: unknown method", nearest(method, ("factorise", "pca")))
    if method == "pca" and space == "z":
        raise OptionError("--method pca: z has equal variance in all directions", "omit --space")
    if classifier is not None and attributes is None:
        raise OptionError(f"--classifier {classifier}: nothing to classify", "give --attributes too")
    amounts = read_numbers(strengths, float, "--strengths")
    given = shared.seed if code is None else code
    here = shared.open()

    from ganforge.explore import attribute_directions, factorise, move, principal_components

    where: LatentSpace = here.styles() if method == "pca" else here.space(space)
    numbers: dict[str, Any] = {"space": where.name, "seed": describe_sources([given])[0], "strengths": amounts}
    if attributes is not None:
        names = attributes.split(",")
        trained = here.open_run()
        known = [check_attribute(trained, each, "--attributes").index(each) for each in names]
        read, numbers["classifier"] = open_reader(trained, classifier)
        found = attribute_directions(where, read, known, seed=shared.seed, count=candidates)
        numbers |= {"attributes": names, "distances": found.values.tolist()}
    else:
        found = principal_components(here.styles(), count) if method == "pca" else factorise(where, count)
        names = [str(row + 1) for row in range(count)]
        numbers["eigenvalues"] = found.values.tolist()
    images = move(where, open_sources(here, where, [given])[0], found, amounts)
    numbers["deviations"] = found.deviations.tolist()
    columns = [f"{each:+g}" if each else "0" for each in amounts]
    here.save_table(images, columns, numbers, names)
