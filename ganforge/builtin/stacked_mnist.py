"""Stacked MNIST: 1000 countable modes of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge import DataError, Dataset, OptionError, cache_folder, hookimpl, open_source
from ganforge.builtin.torchvision_sets import TorchvisionSet


class StackedMnist(Dataset):
    """Three random digits in the channels of one image: 1000 modes (Metz et al. 2017, Srivastava et al. 2017).

    Image i depends only on the digits, the seed and i. It has no label; `triples` returns its digits.

    Args:
        digits: Folder or zip with one folder of images per digit, or a packed folder; empty for MNIST's 60,000 training
            digits, downloaded by torchvision.
        count: Number of images.
        seed: Random seed.

    Attributes:
        digits: Labeled source of the channels.
    """

    def __init__(self, *, digits: str = "", count: int = 128_000, seed: int = 0) -> None:
        for name, value, least in (("count", count, 1), ("seed", seed, 0)):
            if value < least:
                raise OptionError(f"dataset 'stacked-mnist': {name}={value} is too small", f"the least is {least}")
        self.digits: Dataset
        if digits:
            self.digits = open_source(Path(digits).expanduser())
        else:
            self.digits = TorchvisionSet("mnist", cache_folder() / "downloads", "train")
        self.count = count
        self.seed = seed

    @cached_property
    def _chosen(self) -> NDArray[np.int64]:
        # numpy guarantees the stream of RandomState. Rows are drawn in order, so images do not depend on the count.
        return np.random.RandomState(self.seed).randint(0, len(self.digits), (self.count, 3), dtype=np.int64)

    @cached_property
    def _source(self) -> tuple[NDArray[np.uint8], Tensor]:
        """Digits, uint8 ``[N, H, W]``, and their labels ``[N]``."""
        if len(self.digits.class_names) < 2:
            raise DataError("stacked-mnist: the digits have no classes", "use one folder of images per digit")
        items = [self.digits[index] for index in range(len(self.digits))]
        images = [_gray(image, index) for index, (image, _) in enumerate(items)]
        if len({image.shape for image in images}) > 1:
            raise DataError("stacked-mnist: the digits differ in size", "resize them with `ganforge data pack`")
        return np.stack(images), torch.tensor([int(label) for _, label in items])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[NDArray[np.uint8]]:
        images = self._source[0][self.sources(torch.as_tensor(indices)).numpy()]
        return list(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))

    def sources(self, indices: Tensor) -> Tensor:
        """Return indices of the digits of images ``[N]``, int64 ``[N, 3]``."""
        return torch.from_numpy(self._chosen[indices.numpy()])

    def triples(self, indices: Tensor) -> Tensor:
        """Return classes of the channels of images ``[N]``, int64 ``[N, 3]``; (3, 1, 4) is mode 314."""
        return self._source[1][self.sources(indices)]

    def cache_key(self) -> str:
        return f"stacked 1 {self.digits.cache_key()} {self.count} {self.seed}"


def _gray(image: Any, index: int) -> NDArray[np.uint8]:
    """Return a digit as uint8 ``[H, W]``."""
    array: NDArray[np.uint8] = np.asarray(image)
    array = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.ndim != 2:
        raise DataError(f"stacked-mnist: digit {index} is not gray", "use gray images")
    return array


@hookimpl
def ganforge_datasets() -> dict[str, type[StackedMnist]]:
    return {"stacked-mnist": StackedMnist}
