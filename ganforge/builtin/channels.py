"""Channels of convolutional networks, and their supported image sizes."""

from __future__ import annotations

from ganforge import DataSpec


def channels_by_size(data: DataSpec, width: int, max_width: int, *, largest: int) -> list[int]:
    """Return channels of maps from the image's size down to 4 x 4: `width`, doubled at each half, at most `max_width`.

    Raises:
        ValueError: Vectors, images that are not square with a power of two from 8 to `largest`, or with other than 1 to
            4 channels; or a width below 1.
    """
    if not data.is_image:
        raise ValueError(f"needs images, but an example is a vector of {data.shape[0]}; use --arch mlp")
    channels, height, pixels = data.shape
    sizes = [2**power for power in range(3, largest.bit_length())]
    if height != pixels or pixels not in sizes:
        closest = min(sizes, key=lambda size: abs(size - min(height, pixels)))
        raise ValueError(
            f"images are {pixels}x{height}, but must be square with a power of two; use --resolution {closest}"
        )
    if not 1 <= channels <= 4:
        raise ValueError(f"images have {channels} channels, but must have 1 to 4")
    for name, value in (("width", width), ("max_width", max_width)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1, such as 64")
    return [min(width * 2**level, max_width) for level in range(pixels.bit_length() - 2)]
