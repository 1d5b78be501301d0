"""Packing of a data set into one array: decode, crop, resize."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch

from ganforge.config.resolution import Resolution
from ganforge.contract.errors import DataError
from ganforge.core.memory import machine_memory
from ganforge.data.decode import strict_decoding
from ganforge.data.items import Format, Reader
from ganforge.data.labels import Label, LabelTable
from ganforge.data.plan import PackingPlan
from ganforge.data.store import SOURCES, PackedData, fingerprint, write_manifest
from ganforge.data.threads import map_chunks
from ganforge.data.writing import ArrayWriter, new_folder

ProgressCallback = Callable[[int, int], None]  # progress callback: number of examples done, and the total


def pack(
    dataset: Any,
    name: str,
    *,
    title: str,
    resolution: Resolution | None = None,
    origin: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
    skip_bad: bool = False,
) -> PackedData:
    """Pack all examples of a data set, in memory or into a folder; other arguments as in `open_data`.

    A survey determines the format: one channel if all images are gray, else three; 16 bits if all images have them; and
    the resolution. If an example does not fit the survey, packing restarts with the new information.

    Raises:
        DataError: An image cannot be decoded, examples do not fit together, or memory is insufficient.
        PluginError: The data set fails or violates the contract.
        OSError: The folder cannot be written.
    """
    reader = Reader(dataset, title, skip_bad)
    with strict_decoding(), new_folder(folder) if folder else nullcontext() as partial:
        shapes = reader.survey()
        folders = [partial, partial and partial / SOURCES]
        while True:
            plans = [PackingPlan.of(each, resolution, title) for each in shapes]
            with ExitStack() as stack:
                writers = [
                    stack.enter_context(_writer(reader, plan, where))
                    for plan, where in zip(plans, folders, strict=False)
                ]
                shapes, labels = _fill(reader, plans, shapes, resolution, writers, progress)
            if labels is not None and [PackingPlan.of(each, resolution, title) for each in shapes] == plans:
                break
        table = reader.label(labels)
        made, *made_of = ({**(origin or {}), **plan.describe(each)} for plan, each in zip(plans, shapes, strict=True))
        if reader.bad:
            made["left_out"] = reader.bad.reasons()
        if partial:
            paired = [
                write_manifest(partial / SOURCES, f"{name}-{SOURCES}", writer, LabelTable(), each)
                for writer, each in zip(writers[1:], made_of, strict=True)
            ]
            write_manifest(partial, name, writers[0], table, made, *paired)
    if folder:
        return PackedData.load(folder)
    sources = [
        _in_memory(writer, f"{name}-{SOURCES}", LabelTable(), each)
        for writer, each in zip(writers[1:], made_of, strict=True)
    ]
    return _in_memory(writers[0], name, table, made, *sources)


def _in_memory(
    writer: ArrayWriter,
    name: str,
    labels: LabelTable,
    origin: Mapping[str, Any],
    sources: PackedData | None = None,
) -> PackedData:
    """Return the data that were packed in memory."""
    known = None if sources is None else sources.fingerprint
    return PackedData(
        name=name,
        examples=torch.from_numpy(writer.array),
        labels=None if labels.values is None else torch.from_numpy(labels.values),
        class_names=labels.class_names,
        fingerprint=fingerprint(writer.digest, writer.shape, writer.dtype.name, labels, known),
        origin=origin,
        sources=sources,
        number_names=labels.number_names,
    )


def _fill(
    reader: Reader,
    plans: Sequence[PackingPlan],
    expected: Sequence[set[Format]],
    resolution: Resolution | None,
    writers: Sequence[ArrayWriter],
    progress: ProgressCallback | None,
) -> tuple[list[set[Format]], list[Label] | None]:
    """Write all examples; return the shapes seen, and the labels, or None if a plan must change."""
    pixels = sum(
        max(math.prod(shape[:2]) for shape in {*(each.shape for each in known), plan.shape})
        for known, plan in zip(expected, plans, strict=True)
    )
    sizes = [plan.size for plan in plans]
    seen: list[set[Format]] = [set() for _ in plans]
    labels: list[Label] = []
    chunks = map_chunks(lambda indices: (indices.stop, reader.read(indices, *sizes)), reader.length, pixels)
    for done, examples in chunks:
        sides = [[example.sides[number] for example in examples] for number in range(len(plans))]
        for shapes, side in zip(seen, sides, strict=True):
            shapes.update(example.format for example in side)
        for shapes, known, plan in zip(seen, expected, plans, strict=True):
            if not shapes <= known and PackingPlan.of(known | shapes, resolution, reader.name) != plan:
                return seen, None
        for writer, plan, side in zip(writers, plans, sides, strict=True):
            writer.append(plan.rows(side))
        labels.extend(example.label for example in examples)
        if progress:
            progress(done, reader.length)
    return seen, labels


def _writer(reader: Reader, plan: PackingPlan, folder: Path | None) -> ArrayWriter:
    shape = (reader.length, *plan.row_shape)
    needed = math.prod(shape) * plan.dtype.itemsize
    if folder:
        folder.mkdir(exist_ok=True)
        if needed > shutil.disk_usage(folder).free:
            raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB do not fit on the disk")
        return ArrayWriter(shape, plan.dtype, folder / "examples.npy")
    if needed > machine_memory():
        raise DataError(
            f"{reader.name}: {reader.length} examples {list(plan.row_shape)} of {needed / 1e9:.1f} GB exceed memory",
            "use a lower --resolution, or free space in the cache folder",
        )
    return ArrayWriter(shape, plan.dtype, None)
