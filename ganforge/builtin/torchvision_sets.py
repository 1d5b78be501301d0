"""Data sets of torchvision by name, downloaded on first use.

torchvision is imported on first use, and not needed after packing. It verifies digests of downloads, and those of
CIFAR's pickles at each opening.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from ganforge import DataError, Dataset, OptionError, hookimpl, nearest
from ganforge.builtin.lsun import CATEGORIES, Lsun


@dataclass(frozen=True)
class _Split:
    """Value of the option ``split``: arguments of torchvision's class, and the smallest label if items have labels."""

    arguments: Mapping[str, Any]
    labelled: bool = True
    first_label: int = 0


_TRAIN_TEST = {"train": _Split({"train": True}), "test": _Split({"train": False})}
_BY_SPLIT = {name: _Split({"split": name}) for name in ("train", "test")}


def _idx_files(kind: Any, _: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    return f"{kind.__name__}/raw", [name for name, _ in kind.resources]


def _archive(kind: Any, _: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    return "", [kind.filename]


def _file_name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class _Set:
    """Data set of torchvision, by the name of its class, with splits by name, the default first.

    `files` returns a folder under the root and the files for a manual download; `class_names` reads an instance.
    `needs` and `downloader` are packages required to read and to download it.
    """

    kind: str
    summary: str
    splits: Mapping[str, _Split] = field(default_factory=lambda: _TRAIN_TEST)
    files: Callable[[Any, Mapping[str, Any]], tuple[str, Sequence[str]]] = _idx_files
    class_names: Callable[[Any], Sequence[str]] = lambda instance: instance.classes
    needs: str = ""
    downloader: str = ""
    transposed: bool = False


class TorchvisionSet(Dataset):
    """Data set of torchvision by its name in ganforge, opened on first use; `root` is the folder of downloads."""

    def __init__(self, name: str, root: Path, split: str) -> None:
        self._name = name
        self._set = SETS[name]
        self._root = root
        if split not in self._set.splits:
            raise OptionError(f"dataset '{name}' has no split '{split}'", nearest(split, self._set.splits))
        self._split_name = split
        self._split = self._set.splits[split]

    @cached_property
    def _instance(self) -> Any:
        from torchvision import datasets  # type: ignore[import-untyped]

        if self._set.needs and not find_spec(self._set.needs):
            raise DataError(f"dataset '{self._name}' needs a package", f"pip install {self._set.needs}")
        kind = getattr(datasets, self._set.kind)
        try:
            return kind(root=str(self._root), download=True, **self._split.arguments)
        except Exception as error:  # any error of network, disk and archives
            folder, files = self._set.files(kind, self._split.arguments)
            tool = self._set.downloader
            again = f"pip install {tool} and try again" if tool and not find_spec(tool) else "try again with a network"
            raise DataError(
                f"files of dataset '{self._name}' are missing or damaged in {self._root}, and could not be downloaded",
                f"{again}, or place {', '.join(files)} in {self._root / folder}",
            ) from error

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        if not self._split.labelled:
            return ()
        return tuple(self._set.class_names(self._instance)[self._split.first_label :])

    def __len__(self) -> int:
        return len(self._instance)

    def __getitem__(self, index: int) -> Any:
        image, label = self._instance[index]
        if self._set.transposed:
            image = image.transpose(Image.Transpose.TRANSPOSE)
        return (image, int(label) - self._split.first_label) if self._split.labelled else image

    def cache_key(self) -> str:
        return f"{self._name} {self._split_name}"


def _open_lazily(path: str | Path) -> Image.Image:
    """Open an image for decoding by ganforge."""
    from ganforge import open_picture  # slow import

    return open_picture(Path(path).read_bytes(), str(path))


_LAZY = {"loader": _open_lazily}
_EMNIST = {
    name + suffix: _Split({"split": name, "train": not suffix}, first_label=int(name == "letters"))
    for name in ("balanced", "letters", "digits", "byclass", "bymerge")
    for suffix in ("", "-test")
}


SETS: Mapping[str, _Set] = {
    "mnist": _Set("MNIST", "Handwritten digits, 28 x 28 gray (LeCun et al. 1998)."),
    "fashion-mnist": _Set("FashionMNIST", "Articles of clothing, 28 x 28 gray (Xiao et al. 2017)."),
    "kmnist": _Set("KMNIST", "Cursive Japanese characters, 28 x 28 gray (Clanuwat et al. 2018)."),
    "emnist": _Set(
        "EMNIST",
        "Handwritten letters and digits, 28 x 28 gray (Cohen et al. 2017).",
        _EMNIST,
        lambda kind, _: ("EMNIST/raw", [_file_name(kind.url)]),
        transposed=True,
    ),
    "qmnist": _Set(
        "QMNIST",
        "MNIST with its lost test digits, 28 x 28 gray (Yadav and Bottou 2019).",
        _TRAIN_TEST,
        lambda kind, given: (
            "QMNIST/raw",
            [_file_name(url) for url, _ in kind.resources["train" if given["train"] else "test"]],
        ),
    ),
    "cifar10": _Set("CIFAR10", "Objects of 10 classes, 32 x 32 (Krizhevsky 2009).", files=_archive),
    "cifar100": _Set("CIFAR100", "Objects of 100 classes, 32 x 32 (Krizhevsky 2009).", files=_archive),
    "svhn": _Set(
        "SVHN",
        "House numbers, 32 x 32 (Netzer et al. 2011).",
        {name: _Split({"split": name}) for name in ("train", "test", "extra")},
        lambda kind, given: ("", [kind.split_list[given["split"]][1]]),
        class_names=lambda _: tuple("0123456789"),
        needs="scipy",
    ),
    "stl10": _Set(
        "STL10",
        "Objects of 10 classes, 96 x 96, and 100,000 images without labels (Coates et al. 2011).",
        {**_BY_SPLIT, "unlabeled": _Split({"split": "unlabeled"}, labelled=False)},
        _archive,
    ),
    "celeba": _Set(
        "CelebA",
        "Faces of celebrities, 178 x 218, no classes (Liu et al. 2015).",
        {
            name: _Split({"split": name, "target_type": []}, labelled=False)
            for name in ("train", "valid", "test", "all")
        },
        lambda kind, _: ("celeba", [name.replace(".zip", "/ (unzipped)") for *_, name in kind.file_list]),
        downloader="gdown",
    ),
    "flowers102": _Set(
        "Flowers102",
        "Flowers of 102 species, photographs (Nilsback and Zisserman 2008).",
        {name: _Split({"split": name, **_LAZY}) for name in ("train", "val", "test")},
        lambda kind, _: ("flowers-102", [name for name, _ in kind._file_dict.values()]),
        needs="scipy",
    ),
    "food101": _Set(
        "Food101",
        "Dishes of 101 kinds, photographs (Bossard et al. 2014).",
        {name: _Split({"split": name, **_LAZY}) for name in ("train", "test")},
        lambda kind, _: ("", [_file_name(kind._URL)]),
    ),
    "oxford-pets": _Set(
        "OxfordIIITPet",
        "Cats and dogs of 37 breeds, photographs (Parkhi et al. 2012).",
        {"train": _Split({"split": "trainval"}), "test": _Split({"split": "test"})},
        lambda kind, _: ("oxford-iiit-pet", [_file_name(url) for url, _ in kind._RESOURCES]),
    ),
    "imagenette": _Set(
        "Imagenette",
        "Ten easy classes of ImageNet, photographs with a shorter side of 320 (Howard 2019).",
        {name: _Split({"split": name, "size": "320px", **_LAZY}) for name in ("train", "val")},
        lambda kind, given: ("", [_file_name(kind._ARCHIVES[given["size"]][0])]),
        class_names=lambda instance: [names[0] for names in instance.classes],
    ),
}


def _factory(summary: str, make: Callable[[Path, str], Dataset], splits: Sequence[str]) -> Callable[..., Dataset]:
    def factory(*, root: str = "", split: str = splits[0]) -> Dataset:
        from ganforge import cache_folder  # slow import

        return make(Path(root).expanduser() if root else cache_folder() / "downloads", split)

    factory.__annotations__["split"] = Literal[tuple(splits)]
    factory.__doc__ = (
        f"{summary}\n\nArgs:\n    root: Folder of downloads; empty for the cache.\n    split: Part of the set.\n"
    )
    return factory


@hookimpl
def ganforge_datasets() -> dict[str, Callable[..., Dataset]]:
    offered = {
        name: _factory(entry.summary, partial(TorchvisionSet, name), [*entry.splits]) for name, entry in SETS.items()
    }
    for name, category in CATEGORIES.items():
        summary = f"Scenes of the category {category}, photographs with a shorter side of 256 (Yu et al. 2015)."
        offered[name] = _factory(summary, partial(Lsun, category), ["train", "val"])
    return offered
