"""``ganforge import``: checkpoints of other programs into runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ganforge.cli.common import open_registry
from ganforge.cli.options import Out, argument, option, part_option
from ganforge.core.console import print_result, say


def import_checkpoint(
    file: Annotated[Path, argument("FILE", "Checkpoint of another program.")],
    form: Annotated[
        str | None,
        part_option("--format", "importer", "Importer, with options. Default: the first that recognizes the file."),
    ] = None,
    name: Annotated[str | None, option("--name", "Name of the run directory, after its number.", "NAME")] = None,
    terms: Annotated[
        str | None, option("--license", "License of the weights, recorded in the run, e.g. CC-BY-NC-4.0.", "TEXT")
    ] = None,
    source: Annotated[
        str | None, option("--source", "Origin of the file, recorded in the run, e.g. an address.", "TEXT")
    ] = None,
    out: Out = Path("runs"),
) -> None:
    """Import a checkpoint of another program as a run, to sample, explore, export or train on.

    Files are read as data: nothing that they name is imported or called. The run records name, SHA-256, license and
    source of the file.
    """
    from ganforge.config.sources import parse_part
    from ganforge.session.importing import import_file

    chosen, options = None, {}
    if form is not None:
        ((chosen, options),) = parse_part(form, "importer", "--format")["importer"].items()
    origin = {name: text for name, text in (("license", terms), ("source", source)) if text is not None}
    folder, found = import_file(file, out, open_registry(), form=chosen, options=options, name=name, origin=origin)
    for note in found.notes:
        say(f"note: {note}")
    if "license" not in {**found.source, **origin}:
        say("note: the license is unknown; record it with --license TEXT")
    say(f"{found.generator} for {'x'.join(map(str, found.data.shape))}\nnext:  ganforge sample {folder.path}")
    print_result(str(folder.path))
