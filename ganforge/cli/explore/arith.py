"""``ganforge explore arith``: arithmetic of latents, by seeds or by an attribute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import MOST_MEASURED, DeviceOption, OutOption, RunArgument, SeedOption, read_number
from ganforge.cli.explore.attributes import ClassifierOption, declared_attributes, open_reader
from ganforge.cli.explore.common import (
    ClassOption,
    SpaceOption,
    ToOption,
    open_exploration,
    read_numbers,
    read_seed,
    seeds_option,
)
from ganforge.contract.errors import OptionError, nearest
from ganforge.core.console import print_result

if TYPE_CHECKING:
    from ganforge.evaluation.subjects.runs import TrainedRun


def arith(
    context: typer.Context,
    run: RunArgument = None,
    a: Annotated[str | None, seeds_option("--a", "Seeds of what has something.")] = None,
    b: Annotated[str | None, seeds_option("--b", "Seeds of the same without it.")] = None,
    c: Annotated[str | None, seeds_option("--c", "Seeds of what is to get it.")] = None,
    attribute: Annotated[
        str | None,
        typer.Option(
            "--attribute",
            metavar="NAME",
            help="Instead of seeds, an attribute that the data declare: with it, without it, and others without it.",
            show_default=False,
        ),
    ] = None,
    candidates: Annotated[
        str, typer.Option("--candidates", metavar="N", help="Images in which the attribute is looked for.")
    ] = "1000",
    strength: Annotated[str, typer.Option("--strength", metavar="X", help="Factor of the direction A - B.")] = "1",
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            metavar="RANGE",
            help="In w, add it to these layers alone: coarse, middle, fine, or such as 0-3.",
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            "--measure",
            metavar="N",
            help="On so many images without the attribute, measure which get it and keep all else.",
            show_default=False,
        ),
    ] = None,
    classifier: ClassifierOption = None,
    space: SpaceOption = None,
    class_name: ClassOption = None,
    seed: SeedOption = "0",
    to: ToOption = None,
    device: DeviceOption = "auto",
    out: OutOption = Path("runs"),
) -> None:
    """Vector arithmetic: the mean of some exemplars, less that of others, plus that of a third kind."""
    by_seeds = {"--a": a, "--b": b, "--c": c}
    if attribute is not None and any(by_seeds.values()):
        raise OptionError("exemplars are named by seeds or by an attribute", "give --a, --b and --c, or --attribute")
    if attribute is None:
        for flag, given in (("--measure", measure), ("--classifier", classifier)):
            if given is not None:
                raise OptionError(f"{flag} {given}: there is no attribute to read", "give --attribute too")
        missing = [flag for flag, seeds in by_seeds.items() if seeds is None]
        if missing:
            raise OptionError(f"{missing[0]} is missing", "give --a 1,2,3 --b 4,5,6 --c 7,8,9, or --attribute")
    if layers is not None and space == "z":
        raise OptionError(f"--layers {layers}: latents in z have no layers", "leave --layers out, or --space")
    factor = read_number(strength, float, "--strength")
    first = read_seed(seed)
    number = read_number(candidates, int, "--candidates", least=2, most=MOST_MEASURED)
    measured = None if measure is None else read_number(measure, int, "--measure", least=1, most=MOST_MEASURED)
    seeds = {flag: read_numbers(given, int, flag, least=0) for flag, given in by_seeds.items() if given is not None}
    here = open_exploration(context, run, to, class_name, device, out)

    from ganforge.explore import attribute_means, calculate, read_layers, score_direction

    where = here.space(space)
    chosen = None if layers is None else read_layers(layers, here.styles().styles.num_styles)
    means, found = None, dict[str, Any]()
    if attribute is not None:
        trained = here.open_run()
        names = check_attribute(trained, attribute)
        index = names.index(attribute)
        read, quoted = open_reader(trained, classifier)
        with_without = attribute_means(where, read, index, seed=first, count=number)
        means = with_without.with_it, with_without.without_it
        without = with_without.seeds_without
        half = min(_EXEMPLARS, max(len(without) // 2, 1))
        seeds = {"--a": with_without.seeds_with[:half], "--b": without[:half], "--c": without[-half:]}
        found = {"attribute": attribute, "classifier": quoted}
        found |= {"candidates": [first, first + number - 1], "num_with": len(with_without.seeds_with)}
    result = calculate(where, seeds["--a"], seeds["--b"], seeds["--c"], means=means, strength=factor, layers=chosen)
    if attribute is not None and measured is not None:
        score = score_direction(where, read, result.direction, index, names, seed=first + number, count=measured)
        found["measured"] = vars(score)
        print_result(f"{score.gained:7.2%} of {score.count} images without '{attribute}' have it afterwards")
        for name, share in score.kept.items():
            print_result(f"{share:7.2%} are as before in '{name}'")
        print_result(f"{score.kept_all:7.2%} are as before in all others")
    table = result.rows()
    columns = [*[""] * (len(table[0]) - 1), "mean"]
    found |= {"space": where.name, "strength": factor, "seeds": {flag.strip("-"): each for flag, each in seeds.items()}}
    if chosen is not None:
        found["layers"] = list(chosen)
    here.save_table(table, columns, found, ["A", "B", "C", "A - B + C"])


_EXEMPLARS = 6
"""Images of each kind that are shown of an attribute."""


def check_attribute(run: TrainedRun, attribute: str) -> tuple[str, ...]:
    """The names of the attributes that a run's data declare, of which this must be one.

    Raises:
        OptionError: It is none.
    """
    names = declared_attributes(run)
    if not names:
        raise OptionError(
            f"--attribute {attribute}: {run.data.name} declares no attributes",
            "name exemplars by their seeds: --a 1,2,3 --b 4,5,6 --c 7,8,9",
        )
    if attribute not in names:
        raise OptionError(f"--attribute {attribute}: {run.data.name} has no such attribute", nearest(attribute, names))
    return names
