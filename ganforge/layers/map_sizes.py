"""Sizes of a convolutional network's maps, from the smallest to the image."""

from __future__ import annotations

import math

from ganforge.contract.data import DataSpec

LEAST, MOST = 3, 16
"""Smallest and largest edge of the smallest maps in pixels."""

LARGEST = 16_384
"""Largest edge of an image in pixels."""


def map_sizes(data: DataSpec, *, doublings: int = 1, largest: int = LARGEST) -> list[tuple[int, int]]:
    """Return height and width of maps from the smallest to the image's size, each twice the one before.

    Both edges of the image are halved together while both are even and the shorter one keeps 3 pixels or more: 48 x 64
    becomes 3 x 4, and a square of a power of two becomes 4 x 4.

    Args:
        data: Specification of images.
        doublings: Least number of doublings, 1 or more.
        largest: Largest edge of an image in pixels.

    Raises:
        ValueError: Vectors; or images of an unsupported size: larger than `largest`, with fewer doublings, or with
            smallest maps that have an edge above 16 pixels. The message names the nearest valid size.
    """
    if not data.is_image:
        raise ValueError(f"needs images, but an example is a vector of {data.shape[0]}; use --arch mlp")
    height, width = data.shape[1:]
    if not _is_valid(height, width, doublings, largest):
        near = nearest_size(height, width, doublings=doublings, largest=largest)
        known = str(near[0]) if near[0] == near[1] else f"{near[1]}x{near[0]}"
        raise ValueError(
            f"images are {width}x{height}, but both edges must be {LEAST} to {MOST} times one power of two from "
            f"{2**doublings}, and at most {largest}; use --resolution {known}"
        )
    base, count = _halve((height, width))
    return [(base[0] << level, base[1] << level) for level in range(count + 1)]


def nearest_size(height: int, width: int, *, doublings: int = 1, largest: int = LARGEST) -> tuple[int, int]:
    """Return the height and width if they are valid, else the nearest valid ones, in shape before area.

    Small bases are preferred. Arguments as for `map_sizes`.
    """
    if _is_valid(height, width, doublings, largest):
        return height, width

    def distance(base: tuple[int, int], size: tuple[int, int]) -> float:
        shape = abs(math.log(size[0] * width / (size[1] * height)))
        return 2 * shape + abs(math.log(size[0] * size[1] / (height * width))) + math.log(base[0] * base[1]) / 14

    bases = [(high, wide) for high in range(LEAST, MOST + 1) for wide in range(LEAST, MOST + 1)]
    found = [
        (distance(base, (base[0] << count, base[1] << count)), base[0] << count, base[1] << count)
        for base in bases
        if _halve(base) == (base, 0)
        for count in range(doublings, LARGEST.bit_length())
        if max(base) << count <= largest
    ]
    return min(found)[1:]


def _is_valid(height: int, width: int, doublings: int, largest: int) -> bool:
    base, count = _halve((height, width))
    return count >= doublings and max(base) <= MOST and max(height, width) <= largest


def _halve(size: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Return the smallest maps of an image, and the number of doublings from there."""
    (height, width), count = size, 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 2 * LEAST:
        height, width, count = height // 2, width // 2, count + 1
    return (height, width), count
