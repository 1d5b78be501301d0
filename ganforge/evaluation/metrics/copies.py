"""Copies of training images, found by their pixels: exact, brightened, shifted and mirrored ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ganforge.evaluation.subjects.image_sets import ImageSet

KINDS = ("exact", "brightened", "shifted", "mirrored")
"""Kinds of copies: of equal pixels; of other brightness, contrast or compression; moved by a pixel; mirrored."""

TOLERANCE = 0.02
"""Share of an image's variance that a copy may leave unexplained, once its brightness and contrast are fitted."""

_LIKELY = 0.7
"""Squared correlation of small grey images from which the images themselves are compared."""

_EDGE = 16
"""Pixels along an edge at which the most similar training image is looked for."""

_PLAIN = 0.1
"""Norm of small grey images, in shades of 256, below which they are plain: what is left is rounding."""

_FITS_BY_CHANCE = 64

_BLOCK = 512


@dataclass(frozen=True, eq=False, kw_only=True)
class Copies:
    """Which images are copies, and of what.

    Attributes:
        kinds: Index into `KINDS`, int64 ``[N]``; -1 for images that are no copies.
        sources: Index of the training image that is copied, int64 ``[N]``; -1 likewise.
    """

    kinds: Tensor
    sources: Tensor

    def count(self, kind: str) -> int:
        """Number of copies of a kind."""
        return int((self.kinds == KINDS.index(kind)).sum())


def find_copies(
    images: ImageSet,
    numbers: Tensor,
    training: ImageSet,
    *,
    own: Tensor | None = None,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> Copies:
    """Find the images that copy a training image; one that copies in several ways is of the kind that fits best.

    Of each image, and of each of its shifted and mirrored forms, the training image of highest correlation is found
    among small grey ones, and then compared pixel by pixel. Plain and tiny images have exact copies only.

    Args:
        images: Where they are.
        numbers: Which of them, int64 ``[N]``.
        training: The training images, of the same shape.
        own: Index of the training image that each image is itself and is not compared with, int64 ``[N]``; or None.
        show: Told the number of training images searched, and of all.
    """
    digests: dict[bytes, list[int]] = {}
    columns: list[list[Tensor]] = []
    for start in range(0, len(numbers), _BLOCK):
        batch = read_images(images, numbers[start : start + _BLOCK])
        for place, image in enumerate(batch, start):
            digests.setdefault(_digest(image), []).append(place)
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
            waiting = digests.get(digest, [])
            left = [place for place in waiting if own is not None and own[place] == row]
            exact[[place for place in waiting if place not in left]] = row
            if waiting:
                digests[digest] = left
        whole, cropped = _describe(batch), _describe(_crop(batch, 0, 0))
        for form, is_inner, highest, sources in zip(forms, inner, best, found, strict=True):
            likeness = form @ (cropped if is_inner else whole).T
            if own is not None:
                inside = ((own >= first) & (own < first + len(batch))).nonzero()[:, 0]
                likeness[inside, own[inside] - first] = -1.0
            value, column = likeness.max(dim=1)
            better = value > highest
            highest[better], sources[better] = value[better], column[better] + first
    return _settle(images, numbers, training, exact, best, found)


def read_images(images: ImageSet, numbers: Tensor) -> Tensor:
    """Some images of a set, uint8 ``[N, C, H, W]``: at once where they follow one another."""
    first = int(numbers[0])
    if torch.equal(numbers, first + torch.arange(len(numbers))):
        return images.read(first, first + len(numbers))
    return torch.cat([images.read(number, number + 1) for number in numbers.tolist()])


def _settle(
    images: ImageSet, numbers: Tensor, training: ImageSet, exact: Tensor, best: list[Tensor], found: list[Tensor]
) -> Copies:
    """Compare candidates pixel by pixel."""
    kinds, sources = torch.where(exact >= 0, 0, -1), exact.clone()
    likely = (torch.stack(best).amax(dim=0) ** 2 >= _LIKELY) & (exact < 0)
    for place in likely.nonzero()[:, 0].tolist():
        image = images.read(int(numbers[place]), int(numbers[place]) + 1)
        least = TOLERANCE
        for (kind, form, is_inner), highest, rows in zip(_forms(image), best, found, strict=True):
            if highest[place] ** 2 < _LIKELY:
                continue
            other = training.read(int(rows[place]), int(rows[place]) + 1)
            left = _unexplained(form, _crop(other, 0, 0) if is_inner else other)
            if left < least:
                least, kinds[place], sources[place] = left, KINDS.index(kind), rows[place]
    return Copies(kinds=kinds, sources=sources)


def _forms(images: Tensor) -> Iterator[tuple[str, Tensor, bool]]:
    """Kind of copy, images ``[N, C, H, W]`` aligned with their original, and whether an edge of 1 pixel is cut off."""
    yield "brightened", images, False
    if min(images.shape[2:]) > 3:
        for down, right in ((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)):
            yield "shifted", _crop(images, down, right), True
    yield "mirrored", images.flip(3), False


def _crop(images: Tensor, down: int, right: int) -> Tensor:
    """Images without an edge of 1 pixel, moved by so many pixels."""
    height, width = images.shape[2:]
    return images[:, :, 1 + down : height - 1 + down, 1 + right : width - 1 + right]


def _describe(images: Tensor) -> Tensor:
    """Small grey images of mean 0 and norm 1, float32 ``[N, D]``; zeros for plain ones."""
    grey = images.float().mean(dim=1, keepdim=True)
    if not grey.numel():
        return grey.new_zeros(len(images), 1)
    small = functional.adaptive_avg_pool2d(grey, (min(_EDGE, grey.shape[2]), min(_EDGE, grey.shape[3]))).flatten(1)
    centered = small - small.mean(dim=1, keepdim=True)
    sizes = centered.norm(dim=1, keepdim=True)
    return torch.where(sizes > _PLAIN, centered / sizes, 0)


def _unexplained(first: Tensor, second: Tensor) -> float:
    """Share of the variance of one image's pixels that another's do not explain by a rising line, in [0, 1].

    Brightening clips; so, if a quarter or more of the pixels are neither black nor white, these alone may be compared.
    Fewer numbers than 64 may fit by chance and count as unexplained.
    """
    pixels = torch.stack([first.flatten(), second.flatten()]).double()
    inside = pixels[:, ((pixels > 0) & (pixels < 255)).all(dim=0)]
    left = [1.0]
    for compared in (pixels, inside):
        if compared.shape[1] < max(_FITS_BY_CHANCE, pixels.shape[1] / 4):
            continue
        one, other = compared - compared.mean(dim=1, keepdim=True)
        product, size = float(one @ other), float(one @ one) * float(other @ other)
        left.append(1 - product**2 / size if product > 0 else 1.0)
    return min(left)


def _digest(image: Tensor) -> bytes:
    return hashlib.blake2b(image.contiguous().numpy().data, digest_size=16).digest()
