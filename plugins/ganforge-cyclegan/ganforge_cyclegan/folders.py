"""Data set of two folders or zips of images that do not belong to each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ganforge import DataError, Dataset, OptionError, Paired, open_source


class TwoFolders(Dataset):
    """Images of two kinds without pairs: each image comes with a source that is drawn once, at random.

    No term of the objective compares the two. Folders may differ in size; images of the smaller one return.

    Args:
        sources: Folder or zip of the images to translate.
        examples: Folder or zip of the images to resemble.

    Raises:
        OptionError: A folder is missing.
        DataError: A folder without images.
    """

    def __init__(self, *, sources: str = "", examples: str = "") -> None:
        for name, path in (("sources", sources), ("examples", examples)):
            if not path:
                raise OptionError(f"dataset 'two-folders': no {name}", f"--set data.{name}=FOLDER")
        self.sides: list[Any] = [open_source(Path(path).expanduser()) for path in (sources, examples)]
        for side, path in zip(self.sides, (sources, examples), strict=True):
            if not hasattr(side, "names"):
                raise DataError(f"{path} holds no image files", "give a folder of images")
        count = max(map(len, self.sides))
        draw = torch.Generator().manual_seed(0)
        self.orders = [
            torch.cat([torch.randperm(len(side), generator=draw) for _ in range(-(-count // len(side)))])[:count]
            for side in self.sides
        ]

    def __len__(self) -> int:
        return len(self.orders[0])

    def __getitem__(self, index: int) -> Paired:
        source, example = (side.picture(int(order[index])) for side, order in zip(self.sides, self.orders, strict=True))
        return Paired(image=example, source=source)

    def cache_key(self) -> str:
        return " ".join(str(side.cache_key()) for side in self.sides)
