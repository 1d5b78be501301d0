"""From a data set to one array, decoded, cropped and resized on the way."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganforge.data.decode import strict_decoding
from ganforge.data.items import Reader, Shape
from ganforge.data.plan import Plan
from ganforge.data.store import PackedData, fingerprint, write_rest
from ganforge.data.threads import in_chunks
from ganforge.data.writing import ArrayWriter, new_folder
from ganforge.errors import DataError, PluginError

Progress = Callable[[int, int], None]
"""Called with the number of examples done and of all."""


def pack(
    dataset: Any,
    name: str,
    *,
    title: str,
    resolution: int | None = None,
    origin: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    skip_bad: bool = False,
) -> PackedData:
    """Bring all examples of a data set to one form.

    A survey says what that form is: one channel if every image is grey, else three; and the resolution asked for, else
    the size that all images share, else the default. Should an example turn up that the survey missed, packing starts
    again with what is known by then.

    Args:
        dataset: Anything map-style that yields what `ganforge.Dataset` says.
        name: A short name for what comes out.
        title: What to call the data set in an error.
        resolution: Pixels along an edge; None to leave that to the images.
        origin: What is known of where the examples come from.
        folder: Where to write a packed folder, which is then mapped into memory; None to pack in memory.
        progress: Told after each chunk.
        skip_bad: Leave out examples that cannot be read, if they are few; `PackedData.left_out` then names them.

    Raises:
        DataError: An image cannot be decoded and may not be left out, the examples do not fit together, or they do not
            fit into memory.
        PluginError: The data set fails or breaks its contract.
        OSError: The folder cannot be written.
    """
    reader = Reader(dataset, title, skip_bad)
    with strict_decoding(), new_folder(folder) if folder else nullcontext() as partial:
        shapes = reader.survey()
        while True:
            plan = Plan.of(shapes, resolution, title)
            with _writer(reader, plan, partial) as writer:
                shapes, labels = _fill(reader, plan, shapes, resolution, writer, progress)
            if labels is not None and Plan.of(shapes, resolution, title) == plan:
                break
        numbers, class_names = _settle_labels(labels, reader.class_names, title)
        reader.bad.check_classes(labels, class_names)
        made = {**(origin or {}), **plan.describe(shapes)}
        if reader.bad:
            made["left_out"] = reader.bad.reasons()
        if partial:
            write_rest(partial, name, writer, numbers, class_names, made)
    if folder:
        return PackedData.load(folder)
    return PackedData(
        name=name,
        examples=torch.from_numpy(writer.array),
        labels=None if numbers is None else torch.from_numpy(numbers),
        class_names=class_names,
        fingerprint=fingerprint(writer.digest, writer.shape, writer.dtype.name, numbers, class_names),
        origin=made,
    )


def _fill(
    reader: Reader,
    plan: Plan,
    expected: set[Shape],
    resolution: int | None,
    writer: ArrayWriter,
    progress: Progress | None,
) -> tuple[set[Shape], list[int | None] | None]:
    """Write all examples; give the shapes seen, and the labels, or None for those if the plan turned out wrong."""
    pixels = max(math.prod(shape[:2]) for shape in {*expected, plan.shape})
    seen: set[Shape] = set()
    labels: list[int | None] = []
    chunks = in_chunks(lambda indices: (indices.stop, reader.read(indices, plan.edge)), reader.length, pixels)
    for done, examples in chunks:
        seen.update(example.shape for example in examples)
        if not seen <= expected and Plan.of(expected | seen, resolution, reader.name) != plan:
            return seen, None
        writer.append(plan.rows(examples))
        labels.extend(example.label for example in examples)
        if progress:
            progress(done, reader.length)
    return seen, labels


def _writer(reader: Reader, plan: Plan, folder: Path | None) -> ArrayWriter:
    shape = (reader.length, *plan.row_shape)
    needed = math.prod(shape) * plan.dtype.itemsize
    if folder:
        if needed > shutil.disk_usage(folder).free:
            raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB do not fit on the disk")
        return ArrayWriter(shape, plan.dtype, folder / "examples.npy")
    if needed > _memory():
        raise DataError(
            f"{reader.name}: {reader.length} examples {list(plan.row_shape)} of {needed / 1e9:.1f} GB exceed memory",
            "ask for a lower --resolution, or make room in the cache folder",
        )
    return ArrayWriter(shape, plan.dtype, None)


def _memory() -> float:
    """Bytes of this machine's memory; without limit where it does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _settle_labels(
    labels: Sequence[int | None], class_names: tuple[str, ...], title: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    if all(label is None for label in labels):
        if class_names:
            raise PluginError(f"{title} names {len(class_names)} classes, but its examples have no labels")
        return None, ()
    count = len(class_names) or len(labels)  # without names, no more classes than examples
    for index, label in enumerate(labels):
        if label is None:
            raise PluginError(f"{title}: example {index} has no label, others have one", "label all examples or none")
        if not 0 <= label < count:
            more = "" if class_names else "; name the classes if there are more of them"
            raise PluginError(
                f"{title}: the label of example {index} is {label}", f"labels lie in 0 to {count - 1}{more}"
            )
    numbers = np.array(labels, dtype=np.int64)
    return numbers, class_names or tuple(map(str, range(int(numbers.max()) + 1)))
