"""Data sets of the hub and of local folders in its formats."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from ganforge import DataError, Dataset, OptionError, nearest, open_picture, picture_shape

_MARKS = ("state.json", "dataset_dict.json")
"""Files that identify a folder of ``save_to_disk``."""


def _library() -> Any:
    """Import the package ``datasets`` on demand."""
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise OptionError(
            f"dataset 'huggingface' needs the package datasets: {error}",
            'pip install "ganforge-huggingface[datasets]"',
        ) from error
    return datasets


class HubDataset(Dataset):
    """Images of a data set on the Hugging Face Hub, or of a local folder of images, Parquet or ``save_to_disk``.

    No code of a data set is run: the package ``datasets`` runs no scripts.

    Args:
        path: Name on the hub, such as ``ylecun/mnist``, or a local folder.
        config: Name of the configuration; empty for the only one.
        split: Name of the split.
        image: Column of the images; empty for the only one.
        label: Column of the classes; empty for the only one, if any; ``none`` for no classes.
        revision: Commit, tag or branch on the hub; empty for the newest. A commit makes a run repeatable.

    Raises:
        OptionError: No path, or the package ``datasets`` is missing.
    """

    def __init__(
        self,
        *,
        path: str = "",
        config: str = "",
        split: str = "train",
        image: str = "",
        label: str = "",
        revision: str = "",
    ) -> None:
        if not path:
            raise OptionError("dataset 'huggingface': no path", "--set data.path=ylecun/mnist")
        self._path = path
        self._config = config
        self._split = split
        self._image = image
        self._label = label
        self._revision = revision

    @cached_property
    def _whole(self) -> Any:
        """Data set with all columns."""
        datasets = _library()
        folder = Path(self._path).expanduser()
        try:
            if not (folder.is_dir() and any((folder / mark).exists() for mark in _MARKS)):
                return datasets.load_dataset(
                    str(folder) if folder.is_dir() else self._path,
                    self._config or None,
                    split=self._split,
                    revision=self._revision or None,
                )
            found = datasets.load_from_disk(str(folder))
        except Exception as error:  # of networks, archives and parsers
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise DataError(
                f"{self._path}: cannot be loaded: {reason}",
                "check data.path, data.config, data.split and data.revision; private data need `hf auth login`",
            ) from error
        if not isinstance(found, dict):
            return found
        if self._split not in found:
            raise DataError(f"{self._path} has no split '{self._split}'", nearest(self._split, list(map(str, found))))
        return found[self._split]

    @cached_property
    def _columns(self) -> tuple[str, str | None]:
        """Columns of images and of classes."""
        features, datasets = self._whole.features, _library()
        images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
        classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
        image = self._choose("image", self._image, images, images)
        if image is None:
            raise DataError(f"{self._path} has no column of images, but {', '.join(features)}", "use other data")
        if self._label == "none":
            return image, None
        return image, self._choose("label", self._label, classes, list(features))

    def _choose(self, option: str, given: str, likely: list[str], possible: list[str]) -> str | None:
        if given and given not in possible:
            raise OptionError(f"data.{option}={given}: column not found", nearest(given, possible))
        if not given and len(likely) > 1:
            raise DataError(
                f"{self._path} has the columns {', '.join(likely)}", f"choose one: --set data.{option}={likely[0]}"
            )
        return given or next(iter(likely), None)

    @cached_property
    def _rows(self) -> Any:
        """Encoded images and labels."""
        image, label = self._columns
        rows = self._whole.select_columns([image, *([label] if label else [])])
        return rows.cast_column(image, _library().Image(decode=False))

    @cached_property
    def _classes(self) -> tuple[tuple[str, ...], list[int] | None]:
        """Class names, and the class of each example."""
        label = self._columns[1]
        if label is None:
            return (), None
        values = list(self._rows[label])
        if isinstance(feature := self._whole.features[label], _library().ClassLabel):
            unlabeled = [number for number, value in enumerate(values) if value is None or value < 0]
            if unlabeled:
                raise DataError(
                    f"{self._path}: {len(unlabeled)} of {len(values)} examples have no class, such as {unlabeled[0]}",
                    "use another split, or --set data.label=none",
                )
            return tuple(feature.names), values
        if not all(type(value) in (int, str, bool) for value in values):
            raise DataError(f"{self._path}: column '{label}' holds no classes", "classes are numbers or names")
        known = {value: number for number, value in enumerate(sorted(set(values)))}
        return tuple(map(str, known)), [known[value] for value in values]

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes; empty if there are none."""
        return self._classes[0]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        image, labels = self._open(index), self._classes[1]
        return image if labels is None else (image, labels[index])

    def example_name(self, index: int) -> str:
        return f"{self._path}, row {index}"

    def example_shape(self, index: int) -> tuple[int, int, int]:
        return picture_shape(self._open(index))

    def cache_key(self) -> str:
        return " ".join([self._whole._fingerprint, *map(str, self._columns)])

    def _open(self, index: int) -> Any:
        found = self._rows[index][self._columns[0]]
        if found is None:
            raise DataError(f"{self.example_name(index)} holds no image", "remove the row")
        content = found["bytes"]
        return open_picture(Path(found["path"]).read_bytes() if content is None else content, self.example_name(index))
