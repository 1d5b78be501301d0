"""Data set of image pairs: two folders with equal names, or images with both sides next to each other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ganforge import DataError, Dataset, OptionError, Paired, open_source
from PIL import Image


class PairFolder(Dataset):
    """Pairs of images: folders ``a`` and ``b`` with equal names, or images A|B with both sides next to each other.

    The second is the format of the pix2pix authors' data sets, such as ``facades/train``.

    Args:
        path: The folder; a zip is allowed for images A|B.
        direction: Source side and target side.
        mirror: Whether to add the mirror image of each pair.

    Raises:
        OptionError: No path.
        DataError: No images, or an image without a partner.
    """

    def __init__(
        self, *, path: str = "", direction: Literal["a-to-b", "b-to-a"] = "a-to-b", mirror: bool = False
    ) -> None:
        if not path:
            raise OptionError("dataset 'pix2pix-folder': no folder", "--set data.path=FOLDER")
        self.direction = direction
        self.mirror = mirror
        folder = Path(path).expanduser()
        sides = _find_sides(folder)
        self.sides: tuple[Any, ...] = tuple(map(open_source, sides or (folder,)))
        for side, where in zip(self.sides, sides or (folder,), strict=True):
            if not hasattr(side, "names"):
                raise DataError(f"{where} holds no image files", "give a folder of images")
        if sides:
            _require_partners(*self.sides)

    def __len__(self) -> int:
        return len(self.sides[0]) * (2 if self.mirror else 1)

    def __getitem__(self, index: int) -> Paired:
        turn, number = divmod(index, len(self.sides[0]))
        a, b = (side.picture(number) for side in self.sides) if len(self.sides) > 1 else self._cut(number)
        if turn:
            a, b = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (a, b))
        return Paired(image=b, source=a) if self.direction == "a-to-b" else Paired(image=a, source=b)

    def cache_key(self) -> str:
        return " ".join([self.direction, str(self.mirror), *(side.cache_key() for side in self.sides)])

    def _cut(self, number: int) -> tuple[Image.Image, Image.Image]:
        """Return both halves of an image."""
        (both,) = self.sides
        whole = both.picture(number)
        half, odd = divmod(whole.width, 2)
        if odd or half < 1:
            raise DataError(
                f"{both.path}/{both.names[number]} is {whole.width} pixels wide, an odd number",
                "put both images of a pair next to each other, or into the folders a and b",
            )
        return whole.crop((0, 0, half, whole.height)), whole.crop((half, 0, whole.width, whole.height))


def _find_sides(folder: Path) -> tuple[Path, Path] | None:
    """Return the folders of both sides, in lower or upper case; None if there are none."""
    for names in (("a", "b"), ("A", "B")):
        first, second = (folder / name for name in names)
        if first.is_dir() and second.is_dir():
            return first, second
    return None


def _require_partners(a: Any, b: Any) -> None:
    """Raise DataError if the folders differ in names without suffixes; equal names are in equal order."""
    stems = [Counter(str(PurePosixPath(name).with_suffix("")) for name in side.names) for side in (a, b)]
    for mine, theirs, here, there in ((*stems, a, b), (*stems[::-1], b, a)):
        alone = sorted(mine.keys() - theirs.keys())
        if alone:
            raise DataError(
                f"{here.path} holds {alone[0]}, but {there.path} does not", "add the missing image, or delete this one"
            )
        ((name, times),) = mine.most_common(1)
        if times > 1:
            raise DataError(f"{here.path} holds {times} images named {name}", "keep one of them")
