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
from ganforge.data.decode import normalize, open_picture, strict_decoding
from ganforge.data.files import FolderImages, ImageFiles, ZipImages
from ganforge.data.items import Reader, Shape
from ganforge.data.pack import find_source
from ganforge.data.packer import ProgressCallback, validate_labels
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
        modes: Number of examples by Pillow mode, or ``vector``.
        classes: Number of examples by class in the order of the labels; empty for unlabeled data.
        duplicates: Groups of names of identical examples.
        unreadable: Error by name of the example.
        shape: Shape of a training example, ``(H, W, C)`` or ``(D,)``; empty if training would fail.
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
    shape: Shape
    mode: str
    digest: bytes
    label: int | None
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
        pixels = max((math.prod(shape[:2]) for shape in reader.survey()[0]), default=1)
        chunks = map_chunks(lambda indices: (indices.stop, _summarize(reader, indices)), reader.length, pixels)
        for done, some in chunks:
            summaries += some
            if progress:
                progress(done, reader.length)
    labels, names = _classes(reader, summaries)
    counts = Counter(names[label] for label in labels)
    shape: Shape = ()
    training, problem, hint = "", "", ""
    try:
        shape, training = _plan_training(reader, summaries, names, skip_bad, found.resolution)
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
        sizes=dict(Counter(_size(summary.shape) for summary in summaries).most_common()),
        modes=dict(Counter(summary.mode for summary in summaries).most_common()),
        classes={name: counts[name] for name in names},
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
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    examples = reader.read(indices)
    return [
        _Summary(
            reader.name_of(index)[0],
            example.shape,
            modes[example.shape[2]] if len(example.shape) == 3 else "vector",
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
            image = normalize(opened, where)
            digest = hashlib.sha256(content).digest()
    except DataError as error:
        reader.bad.add(index, name, where, error, label)
        return None
    return _Summary(name, (image.height, image.width, len(image.getbands())), mode, digest, label)


def _classes(reader: Reader, summaries: Sequence[_Summary]) -> tuple[Sequence[int], tuple[str, ...]]:
    """Return the labels, of unreadable examples too if known, and the class names."""
    if isinstance(reader.dataset, ImageFiles):
        return reader.dataset.labels or [], reader.class_names
    if not summaries:
        return [], reader.class_names
    numbers, names = validate_labels([summary.label for summary in summaries], reader.class_names, reader.name)
    return [] if numbers is None else numbers.tolist(), names


def _plan_training(
    reader: Reader,
    summaries: Sequence[_Summary],
    class_names: tuple[str, ...],
    skip_bad: bool,
    resolution: Resolution | None,
) -> tuple[Shape, str]:
    """Return the shape and description of training examples; raise `DataError` if training would fail."""
    title, bad = reader.name, reader.bad.reasons()
    if bad and not skip_bad:
        name, reason = next(iter(bad.items()))
        raise DataError(
            f"{title}: {len(bad)} of {reader.length} cannot be read, e.g. {short(name)}: {reason}",
            f"repair or remove the unreadable files; {_describe_skipping(reader, summaries, class_names, resolution)}",
        )
    if len(bad) > max_skipped(reader.length):
        raise too_many(title, str(len(bad)), reader.length, bad)
    reader.bad.check_classes([summary.label for summary in summaries], class_names)
    if isinstance(reader.dataset, PackedFolder) and not reader.dataset.data.is_intact():
        raise DataError(f"{title}: the examples do not match the fingerprint", "pack the data again")
    shapes = {summary.shape for summary in summaries}
    plan = PackingPlan.of(shapes, resolution, title)
    left_out = f"leave out {len(bad)} of {reader.length}, " if bad else ""
    unlabeled = ", in pairs" if summaries[0].paired else ", no classes"
    classes = f", {len(class_names)} classes" if class_names else unlabeled
    if not plan.is_image:
        return plan.shape, f"{left_out}take vectors of length {plan.shape[0]}{classes}"
    done = plan.describe(shapes)
    height, width, channels = plan.shape
    common = math.gcd(height, width)
    area = "square" if height == width else f"{width // common}:{height // common}"
    steps = f"crop to the central {area}, " * (done["crop"] != "none") + "resize, " * (done["resize"] != "none")
    colors = {1: "gray", 3: "RGB", 4: "RGBA"}[channels]
    return plan.shape, f"{left_out}{steps or 'unchanged, '}{width} x {height} ({plan.chosen}), {colors}{classes}"


def _describe_skipping(
    reader: Reader, summaries: Sequence[_Summary], class_names: tuple[str, ...], resolution: Resolution | None
) -> str:
    """Describe training with ``--skip-bad``."""
    if len(reader.bad) > max_skipped(reader.length):
        return f"too many for --skip-bad, which skips at most one in {ONE_IN}"
    try:
        return f"--skip-bad would {_plan_training(reader, summaries, class_names, True, resolution)[1]}"
    except DataError as error:
        return f"--skip-bad would fail: {error.message}"


def _size(shape: Shape) -> str:
    return f"{shape[1]} x {shape[0]}" if len(shape) == 3 else str(shape[0])


def _kind(dataset: Any) -> str:
    kinds = {FolderImages: "folder", ZipImages: "zip", ArrayFile: "array", PackedFolder: "packed folder"}
    return kinds.get(type(dataset), "data set")
