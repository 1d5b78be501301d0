"""``ganforge explore arith``: vector arithmetic of latents, by seeds or by an attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from ganforge.cli.explore.common import Shared, Space, declared_attributes, open_reader
from ganforge.cli.explore.sources import Given, describe_sources, open_sources, read_sources, sources_option
from ganforge.cli.options import MAX_MEASURED, Classifier, number, option
from ganforge.contract.errors import OptionError, nearest
from ganforge.core.console import print_result

if TYPE_CHECKING:
    from ganforge.evaluation.subjects.runs import TrainedRun


def arith(
    shared: Shared,
    a: Annotated[str | None, sources_option("--a", "Seeds or codes of images with a property.")] = None,
    b: Annotated[str | None, sources_option("--b", "Seeds or codes of images without it.")] = None,
    c: Annotated[str | None, sources_option("--c", "Seeds or codes of images to add it to.")] = None,
    attribute: Annotated[
        str | None,
        option("--attribute", "Attribute of the data that selects A and B, and C unless given.", "NAME"),
    ] = None,
    candidates: Annotated[
        int, number("--candidates", "Images that are classified to find the attribute.", least=2, most=MAX_MEASURED)
    ] = 1000,
    strength: Annotated[float, number("--strength", "Factor of the direction A - B.", "X", kind=float)] = 1,
    layers: Annotated[
        str | None, option("--layers", "Layers of w to change: coarse, middle, fine, or e.g. 0-3.", "RANGE")
    ] = None,
    measure: Annotated[
        int | None,
        number(
            "--measure",
            "Measure on N images without the attribute how many gain it and keep all else.",
            least=1,
            most=MAX_MEASURED,
        ),
    ] = None,
    classifier: Classifier = None,
    space: Space = None,
) -> None:
    """Compute A - B + C from the mean latents of three groups of images."""
    by_seeds = {"--a": a, "--b": b, "--c": c}
    if attribute is not None and (a or b):
        raise OptionError("--a and --b are those of the attribute", "give --a, --b and --c, or --attribute and --c")
    if attribute is None:
        for flag, given in (("--measure", measure), ("--classifier", classifier)):
            if given is not None:
                raise OptionError(f"{flag} {given}: requires an attribute", "give --attribute too")
        missing = [flag for flag, seeds in by_seeds.items() if seeds is None]
        if missing:
            raise OptionError(f"{missing[0]} is missing", "give --a 1,2,3 --b 4,5,6 --c 7,8,9, or --attribute")
    if layers is not None and space == "z":
        raise OptionError(f"--layers {layers}: latents in z have no layers", "omit --layers, or --space")
    seeds = {flag: read_sources(given, flag, 0, 0) for flag, given in by_seeds.items() if given is not None}
    here = shared.open()

    from ganforge.explore import attribute_means, calculate, read_layers, score_direction

    where = here.space(space)
    chosen = None if layers is None else read_layers(layers, here.styles().styles.num_styles)
    means, found = None, dict[str, Any]()
    after = shared.seed + candidates
    if attribute is not None:
        trained = here.open_run()
        names = check_attribute(trained, attribute)
        index = names.index(attribute)
        read, quoted = open_reader(trained, classifier)
        with_without = attribute_means(where, read, index, seed=shared.seed, count=candidates)
        means = with_without.with_it, with_without.without_it
        without = with_without.seeds_without
        half = min(_EXEMPLARS, max(len(without) // 2, 1))
        by_attribute: dict[str, list[Given]] = {
            "--a": [*with_without.seeds_with[:half]],
            "--b": [*without[:half]],
            "--c": [*without[-half:]],
        }
        seeds = {**by_attribute, **seeds}
        found = {"attribute": attribute, "classifier": quoted}
        found |= {"candidates": [shared.seed, after - 1], "num_with": len(with_without.seeds_with)}
    groups = [seeds[flag] for flag in by_seeds]
    opened = iter(open_sources(here, where, [each for group in groups for each in group]))
    latents = [[next(opened) for _ in group] for group in groups]
    result = calculate(where, *latents, means=means, strength=strength, layers=chosen)
    if attribute is not None and measure is not None:
        score = score_direction(
            where, read, result.direction, index, names, seed=shared.seed + candidates, count=measure
        )
        found["measured"] = vars(score)
        print_result(f"{score.gained:7.2%} of {score.count} images without '{attribute}' gain it")
        for name, share in score.kept.items():
            print_result(f"{share:7.2%} keep '{name}'")
        print_result(f"{score.kept_all:7.2%} keep all others")
    table = result.rows()
    columns = [*[""] * (len(table[0]) - 1), "mean"]
    found |= {
        "space": where.name,
        "strength": strength,
        "seeds": {flag.strip("-"): describe_sources(each) for flag, each in seeds.items()},
    }
    if chosen is not None:
        found["layers"] = list(chosen)
    here.save_table(table, columns, found, ["A", "B", "C", "A - B + C"])


_EXEMPLARS = 6
"""Images shown per group of an attribute."""


def check_attribute(run: TrainedRun, attribute: str, flag: str = "--attribute") -> tuple[str, ...]:
    """Return the names of the attributes that a run's data declare; raise OptionError if this is none of them."""
    names = declared_attributes(run)
    if not names:
        raise OptionError(
            f"{flag} {attribute}: {run.data.name} declares no attributes",
            "give seeds: --a 1,2,3 --b 4,5,6 --c 7,8,9",
        )
    if attribute not in names:
        raise OptionError(f"{flag} {attribute}: attribute not found in {run.data.name}", nearest(attribute, names))
    return names
