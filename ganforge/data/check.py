"""Looks at a user's data before anything is trained on them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ganforge.data.decode import normalise, open_image, strict_decoding
from ganforge.data.files import FolderImages, ImageFiles
from ganforge.data.items import Reader, Shape
from ganforge.data.packer import Progress
from ganforge.data.plan import Plan
from ganforge.data.sources import ArrayFile, PackedFolder, open_source
from ganforge.data.threads import in_chunks
from ganforge.errors import DataError


@dataclass(frozen=True)
class DataReport:
    """What was found at a path.

    Attributes:
        path: The path.
        kind: ``folder``, ``zip``, ``array`` or ``packed folder``.
        count: Number of examples, readable or not.
        sizes: Examples of each size, such as ``{"640 x 480": 12}``, width first, the most frequent first.
        modes: Examples of each mode, by Pillow's names, or ``vector``.
        classes: Examples of each class in the order of the labels; empty for unlabelled data.
        duplicates: Names of examples with the same content, group by group.
        unreadable: For each example that cannot be read, why.
        training: What training would do with the examples, in words.
        problem: Why they cannot be trained on; empty if they can.
    """

    path: str
    kind: str
    count: int
    sizes: Mapping[str, int]
    modes: Mapping[str, int]
    classes: Mapping[str, int]
    duplicates: Sequence[Sequence[str]]
    unreadable: Mapping[str, str]
    training: str
    problem: str

    @property
    def usable(self) -> bool:
        """Whether training would take these data."""
        return not self.problem


@dataclass(frozen=True)
class _Look:
    """One example: its name, and either its shape, mode and digest or why it cannot be read."""

    name: str
    shape: Shape = ()
    mode: str = ""
    digest: bytes = b""
    error: str = ""


def check_data(path: Path, progress: Progress | None = None) -> DataReport:
    """Read all examples at a path, and say what training would do with them.

    Args:
        path: A folder or zip of images, an ``.npy`` file or a packed folder.
        progress: Called with the number of examples read and of all.

    Raises:
        DataError: There is nothing to look at, or it cannot be opened at all.
    """
    source = open_source(path)
    reader = Reader(source, str(path))
    looks: list[_Look] = []
    with strict_decoding():
        for some in in_chunks(lambda indices: _look(source, reader, indices), len(source), _pixels(source)):
            looks += some
            if progress:
                progress(len(looks), len(source))
    labels = source.labels
    names = source.class_names
    counts = Counter() if labels is None else Counter(names[label] for label in labels)
    training, problem = _judge(source, looks, str(path))
    same = defaultdict(list)
    for look in looks:
        if look.digest:
            same[look.digest].append(look.name)
    return DataReport(
        path=str(path),
        kind=_kind(source),
        count=len(looks),
        sizes=dict(Counter(_size(look.shape) for look in looks if look.shape).most_common()),
        modes=dict(Counter(look.mode for look in looks if look.mode).most_common()),
        classes={name: counts[name] for name in names},
        duplicates=[group for group in same.values() if len(group) > 1],
        unreadable={look.name: look.error for look in looks if look.error},
        training=training,
        problem=problem,
    )


def _look(source: ImageFiles | ArrayFile | PackedFolder, reader: Reader, indices: range) -> list[_Look]:
    if isinstance(source, ImageFiles):
        return [_look_at_file(source, source.names[index]) for index in indices]
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    return [
        _Look(
            f"example {index}",
            example.shape,
            modes[example.shape[2]] if len(example.shape) == 3 else "vector",
            hashlib.sha256(example.array.tobytes()).digest(),
        )
        for index, example in zip(indices, reader.read(indices), strict=True)
    ]


def _look_at_file(source: ImageFiles, name: str) -> _Look:
    where = source.describe(name)
    try:
        content = source.read(name)
        opened = open_image(BytesIO(content), where)
        mode = opened.mode
        image = normalise(opened, where)
    except DataError as error:
        return _Look(name, error=error.message.removeprefix(where).lstrip(": "))
    shape = (image.height, image.width, len(image.getbands()))
    return _Look(name, shape, mode, hashlib.sha256(content).digest())


def _pixels(source: ImageFiles | ArrayFile | PackedFolder) -> int:
    """Pixels of the first image, for want of a better guess."""
    try:
        height, width, *_ = source.shape(0) if isinstance(source, ImageFiles) else (*source.array.shape[1:3], 1)
    except DataError:
        return 1
    return int(height * width)


def _judge(source: ImageFiles | ArrayFile | PackedFolder, looks: Sequence[_Look], title: str) -> tuple[str, str]:
    """What training would do, and what stands in its way."""
    broken = [look for look in looks if look.error]
    if broken:
        return "", f"{title}: {len(broken)} of {len(looks)} cannot be read, such as {broken[0].name}: {broken[0].error}"
    if isinstance(source, PackedFolder) and not source.data.is_intact():
        return "", f"{title}: the examples are not those of the fingerprint; pack the data again"
    shapes = {look.shape for look in looks}
    try:
        plan = Plan.of(shapes, None, title)
    except DataError as error:
        return "", error.message
    classes = f", {len(source.class_names)} classes" if source.class_names else ", no classes"
    if not plan.is_image:
        return f"vectors of length {plan.shape[0]}{classes}", ""
    done = plan.describe(shapes)
    steps = "crop to the central square, " * (done["crop"] != "none") + "resize, " * (done["resize"] != "none")
    height, width, channels = plan.shape
    colours = {1: "grey", 3: "RGB", 4: "RGBA"}[channels]
    return f"{steps or 'take as it is, '}{width} x {height} ({plan.chosen}), {colours}{classes}", ""


def _size(shape: Shape) -> str:
    return f"{shape[1]} x {shape[0]}" if len(shape) == 3 else str(shape[0])


def _kind(source: ImageFiles | ArrayFile | PackedFolder) -> str:
    if isinstance(source, ImageFiles):
        return "folder" if isinstance(source, FolderImages) else "zip"
    return "array" if isinstance(source, ArrayFile) else "packed folder"
