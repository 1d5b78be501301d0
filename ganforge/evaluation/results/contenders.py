"""Find the evaluations of each thing that ``ganforge eval compare`` names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganforge.contract.errors import OptionError
from ganforge.core.atomic_files import read_bytes
from ganforge.evaluation.results.comparability import Agreement, Contender, separate
from ganforge.evaluation.results.result import FILE, Evaluation, read_rows
from ganforge.runs.checkpoint import read_card
from ganforge.runs.folder import RunFolder
from ganforge.runs.shipped import output_folder

_GENERATOR = "generator.safetensors"


def open_contenders(names: Sequence[str], out: Path, raw: bool) -> list[Contender]:
    """Read the evaluations of runs, files and folders, and give each the shortest unique label.

    Args:
        names: Two or more.
        out: Folder of all runs.
        raw: Whether to take evaluations of the trained weights instead of the EMA weights.

    Raises:
        OptionError: A name is not found, given twice or not evaluated that way, or a file mixes several subjects.
        CheckpointError: A file is missing or damaged, or a run has saved no generator.
    """
    paths = [_find(name, out) for name in names]
    resolved = [path.resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise OptionError(f"{names[index]}: is named twice", "name two or more")
    short = [path.parent.name if path.suffix == ".jsonl" else path.name for path in resolved]
    contenders = []
    for name, path, brief in zip(names, paths, short, strict=True):
        rows, digest, images = _read(path, raw, out)
        own, stale = separate(rows, digest)
        label = brief if short.count(brief) == 1 else str(path)
        contenders.append(Contender(label=label, name=name, rows=own, stale=stale, images_seen=images))
    return contenders


def _find(name: str, out: Path) -> Path:
    """Return a run directory, or the named file or folder."""
    path = Path(name)
    if name.endswith(".safetensors"):
        return path.parent if path.name == _GENERATOR else path
    try:
        return RunFolder.find(name, out).find_generator().parent
    except OptionError:
        if path.exists():
            return path
        raise


def _read(path: Path, raw: bool, out: Path) -> tuple[list[Evaluation], str, int | None]:
    """Return evaluations, the digest of the current weights, and the images that these have seen."""
    resolved = path.resolve()
    if (path / _GENERATOR).is_file():
        rows = _choose(path, [row for row in read_rows(output_folder(path, out) / FILE) if _is_of_run(row)], raw)
        return rows, *_describe_run(path, rows, raw)
    digest, images = _describe_file(path)
    own = [
        row
        for row in read_rows(resolved.parent / FILE)
        if _name(row) == resolved.name or row.subject["digest"] == digest
    ]
    if resolved.suffix == ".jsonl" or (not own and (path / FILE).is_file()):
        rows = _choose(path, read_rows(path / FILE if path.is_dir() else path), raw)
        _check_alone(path, rows)
        return rows, _last_digest(rows), None
    if raw:
        raise OptionError(f"--raw: {path} is not a run", "omit --raw")
    rows = [row for row in own if row.subject.get("weights") != "raw"]
    return rows, digest or _last_digest(rows), images


def _describe_file(path: Path) -> tuple[str | None, int | None]:
    """Return the digest of a generator's file and the images it has seen; None where unknown."""
    if path.suffix == ".safetensors":
        card = read_card(path)
        return card["digest"], card.get("images")
    if path.is_dir() or path.suffix in (".zip", ".jsonl"):
        return None, None
    return hashlib.sha256(read_bytes(path)).hexdigest(), None


def _is_of_run(row: Evaluation) -> bool:
    """Return whether a row evaluates the run's own generator, not another file in its folder."""
    return row.subject["kind"] == "generator" and not row.subject["name"].endswith(".safetensors")


def _describe_run(folder: Path, rows: Sequence[Evaluation], raw: bool) -> tuple[str, int | None]:
    """Return the digest of a run's current weights and the images that they have seen."""
    if not raw:
        card = read_card(folder / _GENERATOR)
        return card["digest"], card.get("images")
    checkpoints = RunFolder(folder).checkpoint_paths()
    if not checkpoints:
        return _last_digest(rows), None
    images = read_card(checkpoints[-1])["images"]
    return _last_digest([row for row in rows if row.subject["images_seen"] == images]), images


def _choose(path: Path, rows: list[Evaluation], raw: bool) -> list[Evaluation]:
    """Return evaluations of trained (raw) weights, or of EMA weights."""
    chosen = [row for row in rows if (row.subject.get("weights") == "raw") == raw]
    if rows and not chosen:
        if raw:
            raise OptionError(
                f"--raw: only the EMA weights of {path} were evaluated", f"ganforge eval {path} --raw ..."
            )
        raise OptionError(
            f"{path}: only the trained weights (--raw) were evaluated", f"add --raw, or: ganforge eval {path} ..."
        )
    return chosen


def _check_alone(path: Path, rows: Sequence[Evaluation]) -> None:
    """Refuse a file that mixes several subjects; one subject may have had several weights."""
    last = _last_digest(rows)
    names = {_name(row) for row in rows if row.subject.get("digest") == last}
    others = dict.fromkeys(row.subject["name"] for row in rows if row.subject.get("digest") != last)
    if any(Path(other).name not in names for other in others):
        every = ", ".join(dict.fromkeys(row.subject["name"] for row in rows))
        raise OptionError(f"{path}: holds evaluations of several things: {every}", "name one of them")


def _last_digest(rows: Sequence[Evaluation]) -> str:
    return rows[-1].subject["digest"] if rows else ""


def _name(row: Evaluation) -> str:
    return Path(row.subject["name"]).name


def summarize_protocol(row: Evaluation) -> str:
    """Return a row's protocol in one line: extractor and its weights, counts, split, data, truncation."""
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


def comparison_tree(contenders: Sequence[Contender], found: Agreement) -> dict[str, Any]:
    """Return a comparison as JSON-compatible values."""
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
