"""``ganforge eval compare``: evaluations side by side, as far as they can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ganforge.cli.common import JsonOption, OutOption
from ganforge.cli.runs import find_weights
from ganforge.contract.errors import OptionError
from ganforge.core.atomic_files import read_bytes
from ganforge.core.console import print_result
from ganforge.core.text import escape_controls

if TYPE_CHECKING:
    from ganforge.evaluation.results.comparability import Agreement, Contender
    from ganforge.evaluation.results.result import Evaluation

_GENERATOR = "generator.safetensors"


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="What was evaluated: runs by folder, name or number; files of generators; folders or zips of images; "
            "or any evaluations.jsonl.",
            show_default=False,
        ),
    ],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME", help="Only this metric. Repeatable.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Evaluations of generators as trained, not averaged.")] = False,
    as_json: JsonOption = False,
    out: OutOption = Path("runs"),
) -> None:
    """Set evaluations side by side, where they were made by one protocol; else say in what they differ."""
    if len(names) < 2:
        raise OptionError(f"{names[0]}: is compared with nothing", "name two or more")

    from ganforge.evaluation.results.comparability import agree

    contenders = open_contenders(names, out, raw)
    found = agree(contenders, metric or [])
    if as_json:
        print_result(json.dumps(_as_dict(contenders, found), indent=2))
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 10_000  # lines stay whole for whatever reads them
    console.print(_draw_table(contenders, found))
    for line in _tell(found):
        print_result(line)


def open_contenders(names: Sequence[str], out: Path, raw: bool) -> list[Contender]:
    """What a user wants to have compared, with labels as short as they can be.

    Args:
        names: Two or more.
        out: The folder of all runs.
        raw: Whether evaluations of generators as trained are taken, not of averaged ones.

    Raises:
        OptionError: There is no such thing, it is named twice, was not evaluated so, or a file is about several things.
        CheckpointError: A file is missing or damaged, or a run holds no generator.
    """
    from ganforge.evaluation.results.comparability import Contender, separate

    paths = [_find(name, out) for name in names]
    places = [path.resolve() for path in paths]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise OptionError(f"{names[index]}: is named twice", "name two or more")
    short = [place.parent.name if place.suffix == ".jsonl" else place.name for place in places]
    contenders = []
    for name, path, brief in zip(names, paths, short, strict=True):
        rows, digest, images = _read(path, raw)
        own, stale = separate(rows, digest)
        label = brief if short.count(brief) == 1 else str(path)
        contenders.append(Contender(label=label, name=name, rows=own, stale=stale, images_seen=images))
    return contenders


def _find(name: str, out: Path) -> Path:
    """A folder or file; of a run its folder."""
    try:
        weights = find_weights(name, out)
    except OptionError:
        if Path(name).exists():
            return Path(name)
        raise
    return weights.parent if weights.name == _GENERATOR else weights


def _read(path: Path, raw: bool) -> tuple[list[Evaluation], str, int | None]:
    """Evaluations of what is named, the digest of its present weights, and how many images these have seen."""
    from ganforge.evaluation.results.result import FILE, read_rows

    place = path.resolve()
    if (path / _GENERATOR).is_file():
        rows = _choose(path, [row for row in read_rows(path / FILE) if _is_of_run(row)], raw)
        return rows, *_know_run(path, rows, raw)
    digest, images = _know_file(path)
    own = [row for row in read_rows(place.parent / FILE) if _name(row) == place.name or row.subject["digest"] == digest]
    if place.suffix == ".jsonl" or (not own and (path / FILE).is_file()):
        rows = _choose(path, read_rows(path / FILE if path.is_dir() else path), raw)
        _check_alone(path, rows)
        return rows, _last_digest(rows), None
    if raw:
        raise OptionError(f"--raw: {path} is no run", "leave it out")
    rows = [row for row in own if row.subject.get("weights") != "raw"]
    return rows, digest or _last_digest(rows), images


def _know_file(path: Path) -> tuple[str | None, int | None]:
    """Digest of a file of a generator, and how many images it has seen, as far as known; of all else nothing."""
    from ganforge.runs.checkpoint import read_card

    if path.suffix == ".safetensors":
        card = read_card(path)
        return card["digest"], card.get("images")
    if path.is_dir() or path.suffix in (".zip", ".jsonl"):
        return None, None
    return hashlib.sha256(read_bytes(path)).hexdigest(), None


def _is_of_run(row: Evaluation) -> bool:
    """Whether it is about a run's own generator, and not about another file or images in its folder."""
    return row.subject["kind"] == "generator" and not row.subject["name"].endswith(".safetensors")


def _know_run(folder: Path, rows: Sequence[Evaluation], raw: bool) -> tuple[str, int | None]:
    """Digest of a run's present weights, and how many images they have seen, which tells raw ones apart."""
    from ganforge.runs.checkpoint import read_card
    from ganforge.runs.folder import RunFolder

    if not raw:
        card = read_card(folder / _GENERATOR)
        return card["digest"], card.get("images")
    checkpoints = RunFolder(folder).checkpoint_paths()
    if not checkpoints:
        return _last_digest(rows), None
    images = read_card(checkpoints[-1])["images"]
    return _last_digest([row for row in rows if row.subject["images_seen"] == images]), images


def _choose(path: Path, rows: list[Evaluation], raw: bool) -> list[Evaluation]:
    """Evaluations of raw or of averaged weights."""
    chosen = [row for row in rows if (row.subject.get("weights") == "raw") == raw]
    if rows and not chosen:
        if raw:
            raise OptionError(f"--raw: {path} was evaluated averaged alone", f"ganforge eval {path} --raw ...")
        raise OptionError(f"{path}: was evaluated raw alone", f"add --raw, or: ganforge eval {path} ...")
    return chosen


def _check_alone(path: Path, rows: Sequence[Evaluation]) -> None:
    """Refuse a file that is about several things; one thing may have had several weights."""
    last = _last_digest(rows)
    names = {_name(row) for row in rows if row.subject.get("digest") == last}
    others = dict.fromkeys(row.subject["name"] for row in rows if row.subject.get("digest") != last)
    if any(Path(other).name not in names for other in others):
        every = ", ".join(dict.fromkeys(row.subject["name"] for row in rows))
        raise OptionError(f"{path}: is about several things: {every}", "name the one that you mean")


def _last_digest(rows: Sequence[Evaluation]) -> str:
    return rows[-1].subject["digest"] if rows else ""


def _name(row: Evaluation) -> str:
    return Path(row.subject["name"]).name


def _draw_table(contenders: Sequence[Contender], found: Agreement) -> Table:
    """A row for each metric, a column for each thing; the best comes last."""
    from ganforge.evaluation.results.formatting import describe_value

    table = Table(box=None)
    for heading in ("metric", "better", *(each.label for each in contenders), "best"):
        table.add_column(escape_controls(heading), overflow="fold")
    for each in found.compared:
        values = [describe_value(each.rows[contender.label]) for contender in contenders]
        table.add_row(*map(escape_controls, (each.metric, each.better or "", *values, each.verdict)))
    return table


def _tell(found: Agreement) -> list[str]:
    """Protocols, refusals and notes, a line each."""
    by_protocol: dict[str, list[str]] = {}
    for each in found.compared:
        row = next(iter(each.rows.values()))
        by_protocol.setdefault(_summarize(row), []).append(each.metric)
    alone = len(by_protocol) == 1
    lines = [f"{'protocol' if alone else ', '.join(metrics)}: {words}" for words, metrics in by_protocol.items()]
    lines += [f"not compared: {each.describe()}" for each in found.refused]
    return ["", *lines, *(f"note: {note}" for note in found.notes)]


def _summarize(row: Evaluation) -> str:
    """A row's protocol in one line: extractor and its weights, counts, split, data, truncation."""
    parts: list[str] = []
    protocol = {name: value for name, value in row.protocol.items() if value is not None}
    if "extractor" in protocol:
        parts.append(f"{protocol['extractor']} {protocol.get('weights_sha256', 'unknown')[:8]}")
    elif "protocol" in protocol:
        parts.append(protocol["protocol"])
    if "num_samples" in protocol:
        parts.append(f"{protocol['num_samples']:,} samples")
    if "num_references" in protocol:
        parts.append(f"{protocol['num_references']:,} real images")
    if "data_fingerprint" in protocol:
        split = f" ({protocol['split']})" if "split" in protocol else ""
        parts.append(f"data {row.circumstances['data']}{split} {protocol['data_fingerprint'][:8]}")
    if "truncation" in protocol:
        parts.append(f"truncation {protocol['truncation']:g}")
    return ", ".join(parts)


def _as_dict(contenders: Sequence[Contender], found: Agreement) -> dict[str, Any]:
    """All that was found as JSON knows it."""
    return {
        "things": [each.label for each in contenders],
        "compared": [
            {
                "metric": each.metric,
                "better": each.better,
                "protocol": each.protocol,
                "values": {label: _describe_row(row) for label, row in each.rows.items()},
                "best": each.best,
                "tied": each.tied,
                "verdict": each.verdict,
            }
            for each in found.compared
        ],
        "refused": [
            {"metric": each.metric, "differing": {one.field: one.values for one in each.differences}}
            for each in found.refused
        ],
        "notes": found.notes,
    }


def _describe_row(row: Evaluation) -> dict[str, Any]:
    known = row.to_json()
    return {name: known[name] for name in ("value", "interval", "subject", "circumstances", "notes")}
