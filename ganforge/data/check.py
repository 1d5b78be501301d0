"""Validation of data before training."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganforge.config.resolution import Resolution
from ganforge.contract.errors import DataError
from ganforge.data.decode import normalize, open_picture, picture_dtype, strict_decoding
from ganforge.data.files import FolderImages, ImageFiles, ZipImages
from ganforge.data.items import Format, Reader, Shape
from ganforge.data.labels import Label, LabelTable
from ganforge.data.pack import find_source
from ganforge.data.packer import ProgressCallback
from ganforge.data.plan import PackingPlan
from ganforge.data.sources import ArrayFile, PackedFolder
from ganforge.data.text import printable, short
from ganforge.data.threads import map_chunks
from ganforge.data.unreadable import ONE_IN, BadExamples, max_skipped, too_many
from ganforge.plugins.registry import Registry


@dataclass(frozen=True)
class DataReport:
    """Result of `check_data`.

    Attributes:
        resolution: Requested resolution; None for the data's own.
        kind: ``folder``, ``zip``, ``array``, ``packed folder`` or ``data set``.
        count: Number of examples, readable or not.
        sizes: Number of examples by size, e.g. ``{"640 x 480": 12}``, width first; most frequent first.
        modes: Number of examples by Pillow mode, with the type unless it is uint8; or ``vector`` or ``signal``.
        classes: Number of examples by class in the order of the labels; empty for unlabeled data.
        numbers: Least value, mean and greatest value of each number of the condition vectors; empty without vectors.
        paired: Whether examples have source images.
        duplicates: Groups of names of identical examples.
        unreadable: Error by name of the example.
        shape: Shape of a training example, ``(H, W, C)``, ``(C, T)`` or ``(D,)``; empty if training would fail.
        training: Summary of the preprocessing.
        problem: Error that prevents training; empty if there is none.
    """

    path: str
    resolution: Resolution | None
    options: Mapping[str, Any]
    kind: str
    count: int
    sizes: Mapping[str, int]
    modes: Mapping[str, int]
    classes: Mapping[str, int]
    numbers: Mapping[str, Sequence[float]]
    paired: bool
    duplicates: Sequence[Sequence[str]]
    unreadable: Mapping[str, str]
    shape: Shape
    training: str
    problem: str
    hint: str

    @property
    def usable(self) -> bool:
        """Return whether the data can be used for training."""
        return not self.problem


@dataclass(frozen=True)
class _Summary:
    """One readable example."""

    name: str
    format: Format
    mode: str
    digest: bytes
    label: Label
    paired: bool = False


def check_data(
    source: str | Path,
    progress: ProgressCallback | None = None,
    skip_bad: bool = False,
    *,
    resolution: Resolution | None = None,
    options: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> DataReport:
    """Read all examples of a source as in `open_data`, and describe their use in training."""
    found = find_source(str(source), resolution, options or {}, registry, skip_bad)
    title = found.title
    reader = Reader(found.dataset, title)
    reader.bad = BadExamples(title, reader.length, most=reader.length)  # report all of them
    summaries: list[_Summary] = []
    with strict_decoding():
        pixels = max((math.prod(each.shape[:2]) for each in reader.survey()[0]), default=1)
        chunks = map_chunks(lambda indices: (indices.stop, _summarize(reader, indices)), reader.length, pixels)
        for done, some in chunks:
            summaries += some
            if progress:
                progress(done, reader.length)
    labels = _label(reader, summaries)
    names = labels.class_names
    counts = Counter() if labels.values is None or labels.number_names else Counter(names[i] for i in labels.values)
    shape: Shape = ()
    training, problem, hint = "", "", ""
    try:
        shape, training = _plan_training(reader, summaries, labels, skip_bad, found.resolution)
    except DataError as error:
        problem, hint = error.message, error.hint
    training = "; ".join(filter(None, (training, found.note)))
    same = defaultdict(list)
    for summary in summaries:
        same[summary.digest].append(summary.name)
    return DataReport(
        path=printable(str(source)),
        resolution=found.resolution,
        options=dict(options or {}),
        kind=_kind(found.dataset),
        count=reader.length,
        sizes=dict(Counter(_size(summary.format.shape) for summary in summaries).most_common()),
        modes=dict(Counter(summary.mode for summary in summaries).most_common()),
        classes={name: counts[name] for name in names},
        numbers=_numbers(labels),
        paired=any(summary.paired for summary in summaries),
        duplicates=[group for group in same.values() if len(group) > 1],
        unreadable=reader.bad.reasons(),
        shape=shape,
        training=training,
        problem=problem,
        hint=hint,
    )


def _summarize(reader: Reader, indices: range) -> list[_Summary]:
    if isinstance(reader.dataset, ImageFiles):
        return [summary for index in indices if (summary := _summarize_file(reader.dataset, reader, index))]
    examples = reader.read(indices)
    return [
        _Summary(
            reader.name_of(index)[0],
            example.format,
            _mode(example.format),
            hashlib.sha256(example.array.tobytes()).digest(),
            example.label,
            example.source is not None,
        )
        for index, example in zip((each for each in indices if each not in reader.bad), examples, strict=True)
    ]


def _summarize_file(source: ImageFiles, reader: Reader, index: int) -> _Summary | None:
    name, where = reader.name_of(index)
    label = None if source.labels is None else source.labels[index]
    try:
        with source.content(source.names[index]) as content:
            opened = open_picture(content, where)
            mode = opened.mode
            image = normalize(opened, where, deep=True)
            dtype = picture_dtype(image)
            digest = hashlib.sha256(content).digest()
    except DataError as error:
        reader.bad.add(index, name, where, error, label if isinstance(label, int) else None)
        return None
    return _Summary(name, Format((image.height, image.width, len(image.getbands())), dtype), mode, digest, label)


def _label(reader: Reader, summaries: Sequence[_Summary]) -> LabelTable:
    """Return the labels, of unreadable examples too if known, and their names."""
    labels = [summary.label for summary in summaries]
    if isinstance(reader.dataset, ImageFiles):
        labels = list(reader.dataset.labels or [])
    return LabelTable.of(labels, reader.name, reader.class_names, reader.number_names) if labels else LabelTable()


def _numbers(labels: LabelTable) -> dict[str, Sequence[float]]:
    if labels.values is None or not labels.number_names:
        return {}
    found = zip(labels.values.min(0), labels.values.mean(0), labels.values.max(0), strict=True)
    return {name: [round(float(each), 6) for each in row] for name, row in zip(labels.number_names, found, strict=True)}


def _plan_training(
    reader: Reader,
    summaries: Sequence[_Summary],
    labels: LabelTable,
    skip_bad: bool,
    resolution: Resolution | None,
) -> tuple[Shape, str]:
    """Return the shape and description of training examples; raise `DataError` if training would fail."""
    title, bad = reader.name, reader.bad.reasons()
    if bad and not skip_bad:
        name, reason = next(iter(bad.items()))
        raise DataError(
            f"{title}: {len(bad)} of {reader.length} cannot be read, e.g. {short(name)}: {reason}",
            f"repair or remove the unreadable files; {_describe_skipping(reader, summaries, labels, resolution)}",
        )
    if len(bad) > max_skipped(reader.length):
        raise too_many(title, str(len(bad)), reader.length, bad)
    reader.label([summary.label for summary in summaries])
    if isinstance(reader.dataset, PackedFolder) and not reader.dataset.data.is_intact():
        raise DataError(f"{title}: the examples do not match the fingerprint", "pack the data again")
    formats = {summary.format for summary in summaries}
    plan = PackingPlan.of(formats, resolution, title)
    left_out = f"leave out {len(bad)} of {reader.length}, " if bad else ""
    unlabeled = ", in pairs" if summaries[0].paired else ", no classes"
    classes = f", {len(labels.class_names)} classes" if labels.class_names else unlabeled
    if labels.number_names:
        classes = f", condition vectors of {len(labels.number_names)} numbers"
    if not plan.is_image:
        kind = "vectors" if len(plan.shape) == 1 else f"signals of {plan.shape[0]} channels"
        return plan.shape, f"{left_out}take {kind} of length {plan.shape[-1]}{classes}"
    done = plan.describe(formats)
    height, width, channels = plan.shape
    common = math.gcd(height, width)
    area = "square" if height == width else f"{width // common}:{height // common}"
    steps = f"crop to the central {area}, " * (done["crop"] != "none") + "resize, " * (done["resize"] != "none")
    colors = {1: "gray", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")
    colors = {"uint16": f"16-bit {colors}", "float32": f"{colors} of floats"}.get(plan.dtype.name, colors)
    return plan.shape, f"{left_out}{steps or 'unchanged, '}{width} x {height} ({plan.chosen}), {colors}{classes}"


def _describe_skipping(
    reader: Reader, summaries: Sequence[_Summary], labels: LabelTable, resolution: Resolution | None
) -> str:
    """Describe training with ``--skip-bad``."""
    if len(reader.bad) > max_skipped(reader.length):
        return f"too many for --skip-bad, which skips at most one in {ONE_IN}"
    try:
        return f"--skip-bad would {_plan_training(reader, summaries, labels, True, resolution)[1]}"
    except DataError as error:
        return f"--skip-bad would fail: {error.message}"


def _size(shape: Shape) -> str:
    return f"{shape[1]} x {shape[0]}" if len(shape) != 1 else str(shape[0])


def _mode(example: Format) -> str:
    if len(example.shape) < 3:
        return "vector" if len(example.shape) == 1 else "signal"
    channels = example.shape[2]
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")
    return mode if example.dtype == "uint8" else f"{mode} {example.dtype}"


def _kind(dataset: Any) -> str:
    kinds = {FolderImages: "folder", ZipImages: "zip", ArrayFile: "array", PackedFolder: "packed folder"}
    return kinds.get(type(dataset), "data set")
