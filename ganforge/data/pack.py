"""From the word a user gives to packed data, made once and found again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganforge.config.schema import DataConfig
from ganforge.contract.errors import DataError, GanforgeError, OptionError, PluginError, nearest
from ganforge.core.cache import cache_folder
from ganforge.data.files import ImageFiles
from ganforge.data.items import Size
from ganforge.data.packer import Progress, pack
from ganforge.data.plan import size_of
from ganforge.data.sources import PackedFolder, open_source
from ganforge.data.store import FORMAT, PackedData
from ganforge.data.text import printable, short
from ganforge.data.unreadable import describe_left_out, refusal
from ganforge.plugins.registry import Registry


def open_data(
    source: str,
    *,
    resolution: int | Size | None = None,
    options: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    skip_bad: bool = False,
) -> PackedData:
    """Packed data for a path or for the name of a data set.

    What says by a ``cache_key`` when it changes is packed into the cache once and found again at once; the rest is
    packed in memory. A cache that cannot be written is no error: the data are then packed in memory, and ``note`` of
    what is returned says why.

    Args:
        source: A folder or zip of images, an ``.npy`` file or a packed folder; else the name of a registered data set.
            If it could be both, it is the data set, and the note says so; ``./name`` is always a path.
        resolution: Pixels along an edge, or height and width. A data set with an option ``resolution`` draws squares
            of that size itself; all else is cropped at the center to that aspect ratio and resized. None for the size
            that all images share, else 64.
        options: Of a registered data set.
        registry: Where names are looked up; None for paths only.
        cache: Folder of packed data; None for the user's cache.
        progress: Called with the number of examples packed and of all.
        skip_bad: Leave out examples that cannot be read, at most one in ten; the note counts and names them, and so
            does `PackedData.left_out`.

    Raises:
        OptionError: An unknown option, or a value that is not to be had.
        DataError: There is no such source, or it cannot be used.
        PluginError: A data set fails or breaks its contract.
    """
    found = find_source(source, resolution, options or {}, registry, skip_bad)
    ready = _as_it_is(found.dataset, resolution)
    if ready is not None:
        return replace(ready, note=found.note)
    key = found.cache_key()
    if key is None:
        return found.pack(None, progress)
    folder = (cache or cache_folder() / "data") / found.folder_name(key)
    if folder.exists():
        try:
            data = PackedData.load(folder)
        except DataError:  # damaged, but it can be made again
            shutil.rmtree(folder, ignore_errors=True)
        else:
            return found.take(data)
    try:
        return found.pack(folder, progress)
    except DataError:
        if not folder.exists():
            raise
        return found.take(PackedData.load(folder))  # another process has packed it meanwhile
    except OSError as error:
        data = found.pack(None, progress)
        reason = f"packed in memory, as {folder.parent} cannot be written: {error.strerror}"
        return replace(data, note="\n".join(filter(None, (data.note, reason))))


def open_configured(
    config: DataConfig, registry: Registry, *, cache: Path | None = None, progress: Progress | None = None
) -> PackedData:
    """Open the data of a run's configuration; arguments and errors as `open_data`."""
    return open_data(
        config.source,
        resolution=config.resolution,
        options=config.options,
        registry=registry,
        cache=cache,
        progress=progress,
        skip_bad=config.skip_bad,
    )


def pack_data(
    source: str,
    folder: Path,
    *,
    resolution: int | None = None,
    options: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
    skip_bad: bool = False,
) -> PackedData:
    """Pack into a folder of the user's choice.

    Args:
        source: As for `open_data`, and so are `resolution`, `options`, `registry`, `progress` and `skip_bad`.
        folder: Must not exist, or be empty.
        resolution: Pixels along an edge.
        options: Of a registered data set.
        registry: Where names are looked up.
        progress: Called with the number of examples packed and of all.
        skip_bad: Leave out examples that cannot be read.

    Raises:
        DataError: As `open_data`; or the folder is taken or cannot be written.
    """
    found = find_source(source, resolution, options or {}, registry, skip_bad)
    ready = _as_it_is(found.dataset, resolution)
    try:
        if ready is None:
            return found.pack(folder, progress)
        ready.save(folder)
    except RecursionError:
        raise DataError(f"{found.title}: the manifest is nested too deeply", "pack the data again") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror}", "choose another folder") from error
    return replace(PackedData.load(folder), note=found.note)


@dataclass(frozen=True)
class Found:
    """A source that has been opened.

    Attributes:
        dataset: What yields the examples.
        name: A short name.
        title: What to call it in an error.
        origin: What decides the examples, apart from the cache key.
        skip_bad: Whether examples that cannot be read may be left out.
        note: What the user should be told.
    """

    dataset: Any
    name: str
    title: str
    resolution: int | Size | None
    origin: Mapping[str, Any]
    skip_bad: bool
    note: str = ""

    def pack(self, folder: Path | None, progress: Progress | None) -> PackedData:
        """Pack it, into a folder or in memory."""
        packed = pack(
            self.dataset,
            self.name,
            title=self.title,
            resolution=self.resolution,
            origin=self.origin,
            folder=folder,
            progress=progress,
            skip_bad=self.skip_bad,
        )
        return self.take(packed)

    def take(self, data: PackedData) -> PackedData:
        """Data that were packed now or earlier: those of which nothing was left out serve both ways, others do not."""
        if data.left_out and not self.skip_bad:
            name, reason = next(iter(data.left_out.items()))
            raise refusal(DataError(f"{self.title}, {short(name)}: {reason}"))
        told = describe_left_out(data.left_out, len(data) + len(data.left_out))
        return replace(data, note="\n".join(filter(None, (self.note, told))))

    def cache_key(self) -> str | None:
        """What says when it changes; None if nothing does."""
        try:
            key = getattr(self.dataset, "cache_key", lambda: None)()
        except GanforgeError:
            raise
        except Exception as error:
            raise PluginError(f"{self.title}: cache_key() fails: {type(error).__name__}: {error}") from error
        if not (key is None or isinstance(key, str)):
            raise PluginError(f"{self.title}: cache_key() returned {key!r}", "it must return text or None")
        return key

    def folder_name(self, cache_key: str) -> str:
        """Of the folder in the cache that it is packed into."""
        content = [FORMAT, self.name, self.resolution, self.origin.get("options"), cache_key]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', self.name)[:48]}-{digest[:16]}"


def find_source(
    source: str, resolution: int | Size | None, options: Mapping[str, Any], registry: Registry | None, skip_bad: bool
) -> Found:
    """What is meant by a word: a path or the name of a data set; see `open_data` for the arguments and errors."""
    if resolution is not None and min(size_of(resolution)) < 1:
        raise OptionError(f"a resolution of {resolution} is not to be had", "give pixels along an edge, such as 64")
    if not source:
        raise OptionError("the data have an empty name", "give a path, or the name of a data set")
    names = registry.names("dataset") if registry else []
    path = Path(os.path.expanduser(source))  # Path's own fails for an unknown user
    if registry and source in names:
        note = f"'{source}' is the data set of that name; for the path write ./{source}" if os.path.exists(path) else ""
        return _find_registered(source, resolution, options, registry, skip_bad, note)
    if not os.path.exists(path) and path.name == source and names:
        raise DataError(f"'{printable(source)}' is no file, no folder and no data set", nearest(source, names))
    if options:
        raise OptionError(f"{source} is a path and takes no option '{next(iter(options))}'", "leave it out")
    dataset = open_source(path)
    whole = path.resolve()
    name = printable(whole.name if path.is_dir() else whole.stem)
    note = dataset.note if isinstance(dataset, ImageFiles) else ""
    return Found(dataset, name, printable(source), resolution, {"source": printable(source)}, skip_bad, note)


def _find_registered(
    name: str, resolution: int | Size | None, options: Mapping[str, Any], registry: Registry, skip_bad: bool, note: str
) -> Found:
    if isinstance(resolution, int) and "resolution" in registry.options("dataset", name):
        if options.get("resolution", resolution) != resolution:
            raise OptionError(f"dataset '{name}' is asked for two resolutions", "give it once")
        options = {**options, "resolution": resolution}
    options = registry.check("dataset", name, options)
    dataset = registry.build("dataset", name, options)
    origin = {"source": name, "options": dict(options)}
    return Found(dataset, name, f"dataset '{name}'", resolution, origin, skip_bad, note)


def _as_it_is(dataset: Any, resolution: int | Size | None) -> PackedData | None:
    """Packed data that need no resizing."""
    if isinstance(dataset, PackedFolder):
        data, spec = dataset.data, dataset.data.spec
        shapes = [spec.shape] + [spec.source_shape] * (data.sources is not None)
        if resolution is None or all(shape[1:] == size_of(resolution) for shape in shapes):
            return data
    return None
