"""``ganforge explore mix``: style mixing, and layer attribution by it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ganforge.cli.explore.common import Shared, declared_attributes, open_reader
from ganforge.cli.explore.exploration import Exploration
from ganforge.cli.explore.sources import describe_sources, name_source, open_sources, read_sources, sources_option
from ganforge.cli.options import MAX_MEASURED, Classifier, number, option
from ganforge.contract.errors import OptionError
from ganforge.core.console import progress_bar

if TYPE_CHECKING:
    from ganforge.explore import Following, WSpace


def mix(
    shared: Shared,
    rows: Annotated[str | None, sources_option("--rows", "Seeds or codes A. Default: four from --seed.")] = None,
    columns: Annotated[str | None, sources_option("--columns", "Seeds or codes B. Default: the next five.")] = None,
    layers: Annotated[str, option("--layers", "Layers from B: coarse, middle, fine, or e.g. 0-3.", "RANGE")] = "coarse",
    measure: Annotated[
        int | None,
        number(
            "--measure",
            "Measure on N pairs which layers determine color, layout and attributes.",
            least=1,
            most=MAX_MEASURED,
        ),
    ] = None,
    classifier: Classifier = None,
) -> None:
    """Draw a table of style mixing: the given layers from the column, all others from the row."""
    if classifier is not None and measure is None:
        raise OptionError(f"--classifier {classifier}: nothing to classify", "give --measure too")
    sources_a = read_sources(rows, "--rows", shared.seed, 4)
    highest = max((each for each in sources_a if isinstance(each, int)), default=-1)
    sources_b = read_sources(columns, "--columns", highest + 1, 5)
    here = shared.open()

    from ganforge.explore import mix, read_layers

    where = here.styles()
    chosen = read_layers(layers, where.styles.num_styles)
    found = {
        "rows": describe_sources(sources_a),
        "columns": describe_sources(sources_b),
        "layers_from_b": list(chosen),
        "num_layers": where.styles.num_styles,
    }
    if measure is not None:
        found |= measure_layers(here, where, shared.seed, measure, classifier)
    opened = open_sources(here, where, [*sources_a, *sources_b])
    a, b, mixed = mix(where, opened[: len(sources_a)], opened[len(sources_a) :], chosen)
    table = [[None, *b], *([left, *row] for left, row in zip(a, mixed, strict=True))]
    headings = [f"B {name_source(each)}" for each in sources_b]
    here.save_table(table, ["", *headings], found, ["", *(f"A {name_source(each)}" for each in sources_a)])


def measure_layers(here: Exploration, where: WSpace, seed: int, count: int, classifier: Path | None) -> dict[str, Any]:
    """Measure layer attribution, and print it as a table.

    Args:
        here: The generator and its run.
        where: Space of styles.
        seed: Seed of the first source.
        count: Number of pairs.
        classifier: File of a classifier; None for that of the data.

    Returns:
        Entries of the JSON file.

    Raises:
        OptionError: A classifier is given, and the data declare no attributes.
    """
    from ganforge.explore import follow_layers

    trained = here.open_run()
    names = declared_attributes(trained)
    if classifier is not None and not names:
        raise OptionError(f"--classifier {classifier}: {trained.data.name} declares no attributes", "omit --classifier")
    read, quoted = open_reader(trained, classifier) if names else (None, None)
    with progress_bar("mixing") as progress:
        measured = follow_layers(where, read, names, seed=seed, count=count, progress=progress)
    print_shares(measured, where.styles.num_styles)
    found: dict[str, Any] = {"seeds": [seed, seed + 2 * count - 1], "follows_b": [asdict(each) for each in measured]}
    return {"measured": found} if quoted is None else {"measured": found, "classifier": quoted}


def print_shares(measured: list[Following], num_styles: int) -> None:
    """Print the shares of each third of the layers, and the number of pairs."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ganforge.explore import read_layers

    thirds = {third: read_layers(third, num_styles) for third in measured[0].thirds}
    headings = [
        f"{third} {each[0]}-{each[-1]}" if len(each) > 1 else f"{third} {each[0]}" for third, each in thirds.items()
    ]
    table = Table("follows B in", *headings, "pairs", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for each in measured:
        shares = ["-" if share is None else f"{share:.1%}" for share in each.thirds.values()]
        table.add_row(escape(each.name), *shares, str(each.num_differing))
    Console(highlight=False).print(table)
