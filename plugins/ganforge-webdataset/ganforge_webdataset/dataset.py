"""Map-style data set of WebDataset shards, which ganforge packs once."""

from __future__ import annotations

import bisect
import itertools
from functools import cached_property
from pathlib import Path
from typing import Any

from ganforge import DataError, Dataset, open_picture

from ganforge_webdataset.index import Sample, read_samples
from ganforge_webdataset.shard_files import LocalFiles, expand, is_remote, title


class Shards(Dataset):
    """Images in shards: tar files in WebDataset's format, local or remote.

    Remote shards are streamed: downloaded one by one to count the samples, and again to pack them.

    Args:
        shards: Path or URL of the shards with braces, such as ``train-{0000..0146}.tar``; or a folder of shards.
        image: Extension of the images; empty if each sample has one image.
        label: Extension of the class, with fields for JSON, such as ``json.label``; empty for ``cls``, if any.
        keep: Whether to keep downloaded shards, so that each is downloaded once.
        version: Any text; a new value reads shards again that changed at the same URL.

    Raises:
        OptionError: No shards.
        DataError: The folder has no shards.
    """

    def __init__(
        self, *, shards: str = "", image: str = "", label: str = "", keep: bool = False, version: str = ""
    ) -> None:
        self._places = expand(shards)
        self._image = image.lower().lstrip(".")
        self._label = label.lstrip(".")
        self._version = version
        self._files = LocalFiles(self._places, keep, version)

    @cached_property
    def _shards(self) -> list[list[Sample]]:
        """Samples of each shard."""
        shards = []
        for number, place in enumerate(self._places):
            shards.append(read_samples(self._files.path(number), title(place), self._image, self._label))
        if not any(shards):
            raise DataError(f"{title(self._places[0])} holds no samples", "check data.shards")
        labels = [sample.label for samples in shards for sample in samples]
        if None in labels and any(label is not None for label in labels):
            raise DataError(
                f"{title(self._places[0])}: {labels.count(None)} of {len(labels)} samples have no label",
                "label all samples or none, or set data.label",
            )
        return shards

    @cached_property
    def _ends(self) -> list[int]:
        """Cumulative number of samples."""
        return list(itertools.accumulate(map(len, self._shards)))

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes in alphabetical order; empty if they are numbers, or if there are none."""
        labels = {sample.label for samples in self._shards for sample in samples}
        if any(isinstance(label, str) for label in labels):
            return tuple(sorted(map(str, labels)))
        return ()

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.class_names)}

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Any:
        number, sample = self._find(index)
        if isinstance(sample.shape, DataError):
            raise sample.shape
        with self._files.path(number).open("rb") as stream:
            stream.seek(sample.offset)
            content = stream.read(sample.size)
        image = open_picture(content, self.example_name(index))
        if sample.label is None:
            return image
        return image, sample.label if not self.class_names else self._numbers[str(sample.label)]

    def example_name(self, index: int) -> str:
        number, sample = self._find(index)
        return f"{title(self._places[number])}/{sample.name}"

    def example_shape(self, index: int) -> tuple[int, int, int]:
        shape = self._find(index)[1].shape
        if isinstance(shape, DataError):
            raise shape
        return shape

    def cache_key(self) -> str:
        return "\n".join([self._version, self._image, self._label, *map(_key, self._places)])

    def _find(self, index: int) -> tuple[int, Sample]:
        number = bisect.bisect_right(self._ends, index)
        return number, self._shards[number][index - (self._ends[number - 1] if number else 0)]


def _key(place: str) -> str:
    if is_remote(place):
        return title(place)
    try:
        info = Path(place).stat()
    except OSError as error:
        raise DataError(f"{place}: {error.strerror}", "check data.shards") from error
    return f"{Path(place).resolve()} {info.st_size} {info.st_mtime_ns}"
