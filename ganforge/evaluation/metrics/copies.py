"""Detection of copied training images by pixels: exact, brightened, shifted and mirrored copies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ganforge.evaluation.subjects.image_sets import ImageSet

KINDS = ("exact", "brightened", "shifted", "mirrored")
"""Kinds of copies: equal pixels; changed brightness, contrast or compression; shifted by one pixel; mirrored."""

TOLERANCE = 0.02
"""Maximum unexplained share of an image's variance, after a fit of brightness and contrast."""

_LIKELY = 0.7
"""Minimum squared correlation of small grayscale images for a comparison of the pixels."""

_EDGE = 16
"""Height and width of the grayscale images that are searched."""

_PLAIN = 0.1
"""Maximum norm of grayscale images (in 256 levels) that count as constant; the rest is rounding."""

_FITS_BY_CHANCE = 64

_BLOCK = 512


@dataclass(frozen=True, eq=False, kw_only=True)
class Copies:
    """Detected copies.

    Attributes:
        kinds: Index into `KINDS`, int64 ``[N]``; -1 for no copy.
        sources: Index of the copied training image, int64 ``[N]``; -1 for no copy.
    """

    kinds: Tensor
    sources: Tensor

    def count(self, kind: str) -> int:
        """Return the number of copies of a kind."""
        return int((self.kinds == KINDS.index(kind)).sum())


def find_copies(
    images: ImageSet,
    numbers: Tensor,
    training: ImageSet,
    *,
    own: Tensor | None = None,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> Copies:
    """Find images (indices ``[N]``) that copy a training image; of several kinds, the best fit counts.

    The most correlated training image of each image, and of its shifted and mirrored forms, is found among small
    grayscale images and then compared by pixels. Constant and tiny images have exact copies only. `own` are indices
    ``[N]`` of training images to exclude.
    """
    digests: dict[bytes, list[int]] = {}
    columns: list[list[Tensor]] = []
    for start in range(0, len(numbers), _BLOCK):
        batch = read_images(images, numbers[start : start + _BLOCK])
        for position, image in enumerate(batch, start):
            digests.setdefault(_digest(image), []).append(position)
        columns.append([_describe(form) for _, form, _ in _forms(batch)])
    forms = [torch.cat(parts) for parts in zip(*columns, strict=True)]
    inner = [is_inner for _, _, is_inner in _forms(read_images(images, numbers[:1]))]
    best = [torch.full((len(numbers),), -1.0) for _ in forms]
    found = [torch.full((len(numbers),), -1) for _ in forms]
    exact = torch.full((len(numbers),), -1)
    for first in range(0, training.count, _BLOCK):
        show(first, training.count)
        batch = training.read(first, min(first + _BLOCK, training.count))
        for row, image in enumerate(batch, first):
            digest = _digest(image)
            matches = digests.get(digest, [])
            rest = [position for position in matches if own is not None and own[position] == row]
            exact[[position for position in matches if position not in rest]] = row
            if matches:
                digests[digest] = rest
        whole, cropped = _describe(batch), _describe(_crop(batch, 0, 0))
        for form, is_inner, highest, sources in zip(forms, inner, best, found, strict=True):
            likeness = form @ (cropped if is_inner else whole).T
            if own is not None:
                inside = ((own >= first) & (own < first + len(batch))).nonzero()[:, 0]
                likeness[inside, own[inside] - first] = -1.0
            value, column = likeness.max(dim=1)
            better = value > highest
            highest[better], sources[better] = value[better], column[better] + first
    return _compare_pixels(images, numbers, training, exact, best, found)


def read_images(images: ImageSet, numbers: Tensor) -> Tensor:
    """Read images of a set by index, uint8 ``[N, C, H, W]``; consecutive ones in one call."""
    first = int(numbers[0])
    if torch.equal(numbers, first + torch.arange(len(numbers))):
        return images.read(first, first + len(numbers))
    return torch.cat([images.read(number, number + 1) for number in numbers.tolist()])


def _compare_pixels(
    images: ImageSet, numbers: Tensor, training: ImageSet, exact: Tensor, best: list[Tensor], found: list[Tensor]
) -> Copies:
    """Compare candidates by pixels."""
    kinds, sources = torch.where(exact >= 0, 0, -1), exact.clone()
    likely = (torch.stack(best).amax(dim=0) ** 2 >= _LIKELY) & (exact < 0)
    for position in likely.nonzero()[:, 0].tolist():
        image = images.read(int(numbers[position]), int(numbers[position]) + 1)
        least = TOLERANCE
        for (kind, form, is_inner), highest, rows in zip(_forms(image), best, found, strict=True):
            if highest[position] ** 2 < _LIKELY:
                continue
            other = training.read(int(rows[position]), int(rows[position]) + 1)
            rest = _unexplained(form, _crop(other, 0, 0) if is_inner else other)
            if rest < least:
                least, kinds[position], sources[position] = rest, KINDS.index(kind), rows[position]
    return Copies(kinds=kinds, sources=sources)


def _forms(images: Tensor) -> Iterator[tuple[str, Tensor, bool]]:
    """Yield the kind, the aligned images ``[N, C, H, W]``, and whether they lack an edge of 1 pixel."""
    yield "brightened", images, False
    if min(images.shape[2:]) > 3:
        for down, right in ((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)):
            yield "shifted", _crop(images, down, right), True
    yield "mirrored", images.flip(3), False


def _crop(images: Tensor, down: int, right: int) -> Tensor:
    """Remove an edge of 1 pixel from images shifted by some pixels."""
    height, width = images.shape[2:]
    return images[:, :, 1 + down : height - 1 + down, 1 + right : width - 1 + right]


def _describe(images: Tensor) -> Tensor:
    """Return small grayscale images of mean 0 and norm 1, float32 ``[N, D]``; zeros for constant ones."""
    gray = images.float().mean(dim=1, keepdim=True)
    if not gray.numel():
        return gray.new_zeros(len(images), 1)
    small = functional.adaptive_avg_pool2d(gray, (min(_EDGE, gray.shape[2]), min(_EDGE, gray.shape[3]))).flatten(1)
    centered = small - small.mean(dim=1, keepdim=True)
    sizes = centered.norm(dim=1, keepdim=True)
    return torch.where(sizes > _PLAIN, centered / sizes, 0)


def _unexplained(first: Tensor, second: Tensor) -> float:
    """Return the share of one image's pixel variance that a rising line of another's pixels does not explain, in [0,
    1].

    Brightening clips, so pixels that are neither black nor white may fit alone if they are a quarter or more. Fewer
    than 64 pixels may fit by chance and count as unexplained.
    """
    pixels = torch.stack([first.flatten(), second.flatten()]).double()
    inside = pixels[:, ((pixels > 0) & (pixels < 255)).all(dim=0)]
    rest = [1.0]
    for compared in (pixels, inside):
        if compared.shape[1] < max(_FITS_BY_CHANCE, pixels.shape[1] / 4):
            continue
        one, other = compared - compared.mean(dim=1, keepdim=True)
        product, size = float(one @ other), float(one @ one) * float(other @ other)
        rest.append(1 - product**2 / size if product > 0 else 1.0)
    return min(rest)


def _digest(image: Tensor) -> bytes:
    return hashlib.blake2b(image.contiguous().numpy().data, digest_size=16).digest()
