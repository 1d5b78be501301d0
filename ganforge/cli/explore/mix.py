"""``ganforge explore mix``: which layers make what, as a picture and measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganforge.cli.common import MOST_MEASURED, DeviceOption, OutOption, RunArgument, SeedOption, read_number
from ganforge.cli.explore.attributes import ClassifierOption, declared_attributes, open_reader
from ganforge.cli.explore.common import (
    ClassOption,
    Exploration,
    ToOption,
    open_exploration,
    read_seed,
    read_seeds,
    seeds_option,
)
from ganforge.contract.errors import OptionError
from ganforge.core.console import progress_bar

if TYPE_CHECKING:
    from ganforge.explore import Following, WSpace


def mix(
    context: typer.Context,
    run: RunArgument = None,
    rows: Annotated[str | None, seeds_option("--rows", "Sources A. Four from --seed if left out.")] = None,
    columns: Annotated[str | None, seeds_option("--columns", "Sources B. The next five if left out.")] = None,
    layers: Annotated[
        str,
        typer.Option("--layers", metavar="RANGE", help="Layers from B: coarse, middle, fine, or such as 0-3."),
    ] = "coarse",
    measure: Annotated[
        str | None,
        typer.Option(
            "--measure",
            metavar="N",
            help="On so many pairs from --seed, measure how often colour, layout and attributes follow which layers.",
            show_default=False,
        ),
    ] = None,
    classifier: ClassifierOption = None,
    class_name: ClassOption = None,
    seed: SeedOption = "0",
    to: ToOption = None,
    device: DeviceOption = "auto",
    out: OutOption = Path("runs"),
) -> None:
    """The table of style mixing: rows give all layers but those that columns give."""
    if classifier is not None and measure is None:
        raise OptionError(f"--classifier {classifier}: there is nothing to read", "give --measure too")
    first = read_seed(seed)
    sources_a = read_seeds(rows, "--rows", first, 4)
    sources_b = read_seeds(columns, "--columns", max(sources_a) + 1, 5)
    count = None if measure is None else read_number(measure, int, "--measure", least=1, most=MOST_MEASURED)
    here = open_exploration(context, run, to, class_name, device, out)

    from ganforge.explore import mix, read_layers

    where = here.styles()
    chosen = read_layers(layers, where.styles.num_styles)
    found = {
        "rows": sources_a,
        "columns": sources_b,
        "layers_from_b": list(chosen),
        "num_layers": where.styles.num_styles,
    }
    if count is not None:
        found |= measure_layers(here, where, first, count, classifier)
    a, b, mixed = mix(where, sources_a, sources_b, chosen)
    table = [[None, *b], *([left, *row] for left, row in zip(a, mixed, strict=True))]
    headings = [f"B {each}" for each in sources_b]
    here.save_table(table, ["", *headings], found, ["", *(f"A {each}" for each in sources_a)])


def measure_layers(here: Exploration, where: WSpace, seed: int, count: int, classifier: Path | None) -> dict[str, Any]:
    """Measure which layers make what, and print it as a table.

    Args:
        here: The generator, whose run tells the data.
        where: Its styles.
        seed: Of the first source.
        count: Number of pairs.
        classifier: Reads attributes; None for that of the data.

    Returns:
        What belongs into the JSON.

    Raises:
        OptionError: A classifier for data without attributes.
    """
    from ganforge.explore import follow_layers

    trained = here.open_run()
    names = declared_attributes(trained)
    if classifier is not None and not names:
        raise OptionError(f"--classifier {classifier}: {trained.data.name} declares no attributes", "leave it out")
    read, quoted = open_reader(trained, classifier) if names else (None, None)
    with progress_bar("mixing") as progress:
        measured = follow_layers(where, read, names, seed=seed, count=count, progress=progress)
    print_shares(measured, where.styles.num_styles)
    found: dict[str, Any] = {"seeds": [seed, seed + 2 * count - 1], "follows_b": [asdict(each) for each in measured]}
    return {"measured": found} if quoted is None else {"measured": found, "classifier": quoted}


def print_shares(measured: list[Following], num_styles: int) -> None:
    """Print shares for each third of the layers, and of how many pairs they are, to standard output."""
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
