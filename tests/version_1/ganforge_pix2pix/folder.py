"""A user's pairs: two folders with equal names, or pictures that hold both side by side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ganforge import DataError, Dataset, OptionError, Paired, open_source
from PIL import Image


class PairFolder(Dataset):
    """Pairs of pictures: a folder with folders ``a`` and ``b`` of equal names, or one of pictures A|B side by side.

    The second is the format of the data sets of the pix2pix authors, such as ``facades/train``.

    Args:
        path: The folder; of pictures side by side it may be a zip.
        direction: Which side is given, and which is to be made of it.
        mirror: Yield each pair a second time, mirrored left to right.

    Raises:
        OptionError: No path is given.
        DataError: There are no such pictures, or one has no partner.
    """

    def __init__(
        self, *, path: str = "", direction: Literal["a-to-b", "b-to-a"] = "a-to-b", mirror: bool = False
    ) -> None:
        if not path:
            raise OptionError("dataset 'pix2pix-folder': no folder is given", "--set data.path=FOLDER")
        self.direction = direction
        self.mirror = mirror
        folder = Path(path).expanduser()
        sides = _find_sides(folder)
        self.sides: tuple[Any, ...] = tuple(map(open_source, sides or (folder,)))
        for side, where in zip(self.sides, sides or (folder,), strict=True):
            if not hasattr(side, "names"):
                raise DataError(f"{where} holds no picture files", "give a folder of pictures")
        if sides:
            _require_partners(*self.sides)

    def __len__(self) -> int:
        return len(self.sides[0]) * (2 if self.mirror else 1)

    def __getitem__(self, index: int) -> Paired:
        turn, number = divmod(index, len(self.sides[0]))
        a, b = (_read(side, number) for side in self.sides) if len(self.sides) > 1 else self._cut(number)
        if turn:
            a, b = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (a, b))
        return Paired(image=b, source=a) if self.direction == "a-to-b" else Paired(image=a, source=b)

    def cache_key(self) -> str:
        """Changes with the options, and with the name, size or time of any file."""
        return " ".join([self.direction, str(self.mirror), *(side.cache_key() for side in self.sides)])

    def _cut(self, number: int) -> tuple[Image.Image, Image.Image]:
        """Both halves of a picture."""
        (both,) = self.sides
        whole = _read(both, number)
        half, odd = divmod(whole.width, 2)
        if odd or half < 1:
            raise DataError(
                f"{both.path}/{both.names[number]} is {whole.width} pixels wide, which cannot be halved",
                "put both images of a pair side by side, or each into a folder of its own, a and b",
            )
        return whole.crop((0, 0, half, whole.height)), whole.crop((half, 0, whole.width, whole.height))


def _find_sides(folder: Path) -> tuple[Path, Path] | None:
    """The folders of both sides, whether named in small letters or in capitals; None if there are none."""
    for names in (("a", "b"), ("A", "B")):
        first, second = (folder / name for name in names)
        if first.is_dir() and second.is_dir():
            return first, second
    return None


def _require_partners(a: Any, b: Any) -> None:
    """See that both folders hold the same names, whatever these end in; then both are in one order.

    Raises:
        DataError: They do not.
    """
    stems = [Counter(str(PurePosixPath(name).with_suffix("")) for name in side.names) for side in (a, b)]
    for mine, theirs, here, there in ((*stems, a, b), (*stems[::-1], b, a)):
        alone = sorted(mine.keys() - theirs.keys())
        if alone:
            raise DataError(f"{here.path} holds {alone[0]}, and {there.path} does not", "give each picture its partner")
        ((name, times),) = mine.most_common(1)
        if times > 1:
            raise DataError(f"{here.path} holds {times} pictures named {name}", "leave one of them")


def _read(side: Any, number: int) -> Image.Image:
    """A picture, whether it lies in the folder of a class or not."""
    item = side[number]
    image: Image.Image = item[0] if isinstance(item, tuple) else item
    return image
