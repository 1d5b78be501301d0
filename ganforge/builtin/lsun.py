"""LSUN from its published LMDB folders; torchvision's reader loads a pickle from the current folder."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ganforge import DataError, Dataset

CATEGORIES = {
    "lsun-" + category.removesuffix("_outdoor").replace("_", "-"): category
    for category in (
        *("bedroom", "bridge", "church_outdoor", "classroom", "conference_room"),
        *("dining_room", "kitchen", "living_room", "restaurant", "tower"),
    )
}
"""Categories by the name of their data set."""


class Lsun(Dataset):
    """Scenes of one category (Yu et al. 2015, arXiv:1506.03365), from an LMDB folder in `root`."""

    def __init__(self, category: str, root: Path, split: str) -> None:
        self._root = root
        self._folder = f"{category}_{split}_lmdb"

    @cached_property
    def _database(self) -> Any:
        if not find_spec("lmdb"):
            raise DataError("LSUN needs a package", "pip install lmdb")
        lmdb = import_module("lmdb")
        try:
            return lmdb.open(str(self._root / self._folder), readonly=True, lock=False, create=False)
        except lmdb.Error as error:
            raise DataError(
                f"LSUN's folder {self._root / self._folder} is missing or damaged",
                f"download {self._folder}.zip as described at www.yf.io/p/lsun, and unzip it in {self._root}",
            ) from error

    @cached_property
    def _keys(self) -> list[bytes]:
        with self._database.begin() as transaction:
            return list(transaction.cursor().iternext(keys=True, values=False))

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Any:
        from ganforge import open_picture  # slow import

        with self._database.begin() as transaction:
            return open_picture(transaction.get(self._keys[index]), f"LSUN's picture {index}")

    def cache_key(self) -> str:
        return self._folder
