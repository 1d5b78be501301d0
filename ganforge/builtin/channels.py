"""Channels of convolutional networks."""

from __future__ import annotations

from ganforge import DataSpec, map_sizes


def channels_by_size(data: DataSpec, width: int, max_width: int, *, largest: int) -> list[int]:
    """Return channels of maps from the image's size down to the smallest: `width`, doubled at each half, at most
    `max_width`.

    Raises:
        ValueError: Images of an unsupported size, see `map_sizes`, or a width below 1.
    """
    sizes = map_sizes(data, largest=largest)
    for name, value in (("width", width), ("max_width", max_width)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1, such as 64")
    return [min(width * 2**level, max_width) for level in range(len(sizes))]
