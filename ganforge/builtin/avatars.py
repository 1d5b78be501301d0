"""Avatars: cartoon faces with known attributes at any resolution; the embedded data set, without download."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ganforge import Dataset, OptionError, hookimpl
from ganforge.builtin.avatars_drawing import Pen
from ganforge.builtin.avatars_parts import HAIR_STYLES, PARTS


def _colors(codes: str) -> Tensor:
    return torch.tensor([list(bytes.fromhex(code)) for code in codes.split()], dtype=torch.float32)


PALETTES = {
    "skin": _colors("fbdfca f3c6a2 e3a981 cb8b5c a66b43 83502f 603a2a"),
    "hair_colour": _colors("2d2528 4b3129 7b4b30 a5522f d17a3f e6ba6c b5b2b6 d9869d"),
    "eye_colour": _colors("5a3a26 3f6f8f 4d7d58 3a2c2a"),
    "shirt_colour": _colors("e76f5b 2a9d8f 33507d eeb44f 8a79c0 4b4659 5a8a63 c75f80"),
    "hat_colour": _colors("e4604e 2c8f8c 35507f e9a93c 7d5a9e 4d8a5c"),
    "glasses_colour": _colors("2b2933 c23b3f 2d5fa0 e3a233"),
    "background": _colors("f7cdb8 fbe3a4 bfe3cc b7dcef d3caf0 f6c6d3 d3dfb4 ecdcc6"),
}
"""Colors ``[K, 3]`` in [0, 255] of the values 0 to K - 1 of these attributes."""

# Hair colors that contrast with each skin; repeated colors are more frequent.
_HAIR_ON_SKIN = torch.tensor(
    [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, 1, 2, 3, 4, 5, 6, 0],
        [0, 1, 2, 0, 1, 2, 6, 7],
        [0, 1, 6, 0, 1, 6, 5, 7],
        [0, 6, 5, 0, 6, 5, 0, 7],
        [0, 6, 5, 0, 6, 5, 0, 7],
    ]
)
_CAN_BE_LONG = torch.tensor([name in ("side part", "fringe", "curtain", "curls") for name in HAIR_STYLES])


def _mix(bits: Tensor) -> Tensor:
    """Scramble 32 bits bijectively, by the xorshift-multiply of Wellons' hash-prospector; no product exceeds int64."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        bits = (bits ^ (bits >> shift)) * factor & 0xFFFFFFFF
    return bits ^ (bits >> 15)


def _draws(indices: Tensor) -> Callable[[str], Tensor]:
    """Return a function from an attribute's name to 32 random bits ``[N]`` per index."""
    key = _mix(indices & 0xFFFFFFFF)
    return lambda name: _mix(key ^ zlib.crc32(name.encode()))


def _check(option: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        valid = f"from {least} to {most}" if most else f"{least} or more"
        nearest = least if value < least else most
        raise OptionError(f"dataset 'avatars': {option}={value} must be {valid}", f"the nearest is {option}={nearest}")


class Avatars(Dataset):
    """Cartoon faces drawn from signed distances, in 8 balanced classes: with or without glasses, hat and smile.

    The label is ``smile + 2 * hat + 4 * glasses``. A face depends only on its index: number 7 is the same person at
    every count and resolution.

    Args:
        count: Number of faces.
        resolution: Height and width in pixels, from 8 to 1024.
        labels: ``classes``, or ``vector``: smile, hat and glasses as 0 or 1, and red, green and blue of skin and hair
            in [0, 1]. Hidden hair has a color too.
    """

    class_names: tuple[str, ...] = (
        *("plain", "smile", "hat", "hat+smile", "glasses", "glasses+smile", "glasses+hat", "glasses+hat+smile"),
    )
    attribute_names: tuple[str, ...] = ("smile", "hat", "glasses")

    def __init__(
        self, *, count: int = 20_000, resolution: int = 32, labels: Literal["classes", "vector"] = "classes"
    ) -> None:
        _check("count", count, 1)
        _check("resolution", resolution, 8, 1024)
        self.count = count
        self.resolution = resolution
        self.labels = labels
        if labels == "vector":
            colors = tuple(f"{part}_{color}" for part in ("skin", "hair") for color in ("red", "green", "blue"))
            self.number_names = self.attribute_names + colors
            self.class_names = self.attribute_names = ()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int | Tensor]]:
        for index in indices:
            if not 0 <= index < self.count:
                raise IndexError(f"face {index} of {self.count}")
        known = self.attributes(torch.tensor(indices, dtype=torch.int64))
        images = draw(known, self.resolution).permute(0, 2, 3, 1).contiguous()
        if self.labels == "vector":
            flags = torch.stack([known[name] for name in ("smile", "hat", "glasses")], dim=1)
            colors = [PALETTES[name][known[name]] / 255 for name in ("skin", "hair_colour")]
            return list(zip(images, torch.cat([flags, *colors], dim=1).unbind(), strict=True))
        labels = known["smile"] + 2 * known["hat"] + 4 * known["glasses"]
        return list(zip(images, labels.tolist(), strict=True))

    def cache_key(self) -> str:
        code = hashlib.sha256()
        for name in ("avatars.py", "avatars_drawing.py", "avatars_parts.py"):
            code.update(Path(__file__).with_name(name).read_bytes())
        vector = "-vector" if self.labels == "vector" else ""
        return f"avatars-{self.count}-{self.resolution}-{code.hexdigest()}{vector}"

    @staticmethod
    def attributes(indices: Tensor) -> dict[str, Tensor]:
        """Return all attributes of faces, the input of `draw`.

        Args:
            indices: int64 ``[N]``, not limited by the count.

        Returns:
            Tensors ``[N]``. int64, 0 or 1: ``glasses``, ``hat``, ``smile``, ``long_hair``, ``beard``, ``moustache`` and
            ``teeth`` (of a smile). int64 from 0: ``hair_style`` (see `HAIR_STYLES`), ``collar`` (round, white, V),
            ``glasses_style`` (round, square, soft), ``hat_style`` (beanie, cap) and the colors in `PALETTES`. float32,
            in halves of the frame: ``head_width`` (half, 0.42 to 0.49), ``shift_x`` (-0.04 to 0.04) and ``shift_y``
            (-0.03 to 0.03); in radians ``tilt`` (-0.05 to 0.05); without unit ``hair_length`` (of long hair: 0 at the
            chin, 1 at the shoulders), ``mouth_curve`` (without smile, 0.3 to 2.2) and ``brow_slant`` (-0.06 to 0.24).
            Hidden attributes have values too.
        """
        bits = _draws(indices)

        def choice(name: str, count: int) -> Tensor:
            return bits(name) * count >> 32

        def flag(name: str, chance: float = 0.5) -> Tensor:
            return (bits(name) < int(chance * 2**32)).long()

        def uniform(name: str, low: float, high: float) -> Tensor:
            return (bits(name) >> 8).float() * ((high - low) / 2**24) + low

        known = {name: flag(name) for name in ("glasses", "hat", "smile")}
        known |= {name: choice(name, len(palette)) for name, palette in PALETTES.items()}
        known["hair_colour"] = _HAIR_ON_SKIN[known["skin"], known["hair_colour"]]
        known["hair_style"] = choice("hair_style", len(HAIR_STYLES))
        known["long_hair"] = flag("long_hair", 0.6) * _CAN_BE_LONG[known["hair_style"]]
        known["beard"] = flag("beard", 0.3) * (1 - known["long_hair"])
        known["moustache"] = flag("moustache", 0.1) * (1 - known["long_hair"])
        known["teeth"] = flag("teeth", 0.6)
        known |= {name: choice(name, n) for name, n in (("collar", 3), ("glasses_style", 3), ("hat_style", 2))}
        known["head_width"] = uniform("head_width", 0.42, 0.49)
        known["hair_length"] = uniform("hair_length", 0, 1)
        known["mouth_curve"] = uniform("mouth_curve", 0.3, 2.2)
        known["brow_slant"] = uniform("brow_slant", -0.06, 0.24)
        known["shift_x"] = uniform("shift_x", -0.04, 0.04)
        known["shift_y"] = uniform("shift_y", -0.03, 0.03)
        known["tilt"] = uniform("tilt", -0.05, 0.05)
        return known


def draw(attributes: Mapping[str, Tensor], resolution: int) -> Tensor:
    """Draw faces; changing one attribute leaves the rest of a face unchanged.

    Args:
        attributes: Attributes as of `Avatars.attributes`, each ``[N]``.
        resolution: Height and width in pixels, from 8 to 1024.

    Returns:
        uint8 ``[N, 3, resolution, resolution]``.
    """
    _check("resolution", resolution, 8, 1024)
    count = len(attributes["skin"])
    images = torch.empty(count, 3, resolution, resolution, dtype=torch.uint8)
    chunk = max(1, 2**18 // resolution**2)  # planes of 1 MiB fit the cache of a core
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        images[part] = _paint({name: values[part] for name, values in attributes.items()}, resolution)
    return images


def _paint(known: Mapping[str, Tensor], resolution: int) -> Tensor:
    faces = {name: values.view(-1, 1, 1) for name, values in known.items()}
    colors = {name: palette[known[name]].view(-1, 3, 1, 1) for name, palette in PALETTES.items()}
    # The figure rotates about the base of the neck; a small angle is twice the tangent of its half.
    line, neck, tangent = (torch.arange(resolution) * 2 + 1) / resolution - 1, 0.7, faces["tilt"] / 2
    across, down = line.view(1, -1) - faces["shift_x"], line.view(-1, 1) - faces["shift_y"] - neck
    cosine, sine = (1 - tangent * tangent) / (1 + tangent * tangent), 2 * tangent / (1 + tangent * tangent)
    x, y = cosine * across + sine * down, cosine * down - sine * across + neck
    farthest = float((faces["shift_x"].abs() + faces["shift_y"].abs() + 2 * faces["tilt"].abs()).max())

    def pixels_between(low: float, high: float) -> slice:
        first, last = (low - farthest + 1) / 2 * resolution, (high + farthest + 1) / 2 * resolution
        return slice(max(0, int(first) - 1), int(last) + 2)

    canvas = Pen(torch.empty(len(x), 3, resolution, resolution), x, y, 2 / resolution, faces, colors)
    for paint, (left, top, right, bottom), shown_by in PARTS:
        shown: Tensor | slice = slice(None)
        if shown_by:
            shown = torch.stack([known[name] == value for name, value in shown_by.items()]).all(0).nonzero()[:, 0]
            if not len(shown):
                continue
        rows, columns = pixels_between(top, bottom), pixels_between(left, right)
        pen = canvas.within(shown, rows, columns)
        paint(pen)
        if shown_by:
            canvas.pixels[shown, :, rows, columns] = pen.pixels
    return canvas.pixels.round_().to(torch.uint8)


@hookimpl
def ganforge_datasets() -> dict[str, type[Avatars]]:
    return {"avatars": Avatars}
