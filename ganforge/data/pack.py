"""Opening and caching of data."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganforge.config.data import DataConfig
from ganforge.config.resolution import Resolution, read_resolution, size_of
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import DataError, GanforgeError, OptionError, PluginError, nearest
from ganforge.core.cache import cache_folder
from ganforge.data.files import ImageFiles
from ganforge.data.manifest import FORMAT
from ganforge.data.packer import ProgressCallback, pack
from ganforge.data.sources import PackedFolder, open_source, suggest_path
from ganforge.data.store import PackedData
from ganforge.data.text import printable, short
from ganforge.data.unpaired import add_unpaired_sources
from ganforge.data.unreadable import describe_skipped, skip_error
from ganforge.data.writing import FolderExistsError
from ganforge.plugins.registry import Registry
from ganforge.runs.origin import IMPORTED

_PREPARATION = 2  # version of the preparation of picture files: 2 keeps 16-bit gray

LAG = 60.0
"""Seconds until a new file is visible on all machines of a shared file system; NFS caches names for that long."""

LAG_POLL = 0.1
"""Seconds between two looks for such a file."""


def open_data(
    source: str,
    *,
    resolution: Resolution | None = None,
    options: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    cache: Path | None = None,
    progress: ProgressCallback | None = None,
    skip_bad: bool = False,
) -> PackedData:
    """Open data from a path or by the name of a data set, packed into one tensor.

    Sources with a ``cache_key`` are packed into the cache once and reused; others are packed in memory. If the cache
    is not writable, the data are packed in memory, and ``note`` of the result gives the reason.

    Args:
        source: Folder or zip of images, ``.npy`` file, packed folder, or name of a registered data set. A data set
            takes precedence; ``./name`` is always a path.
        resolution: Edge length in pixels, or a text such as ``256x192``, width first. Images are center-cropped to the
            aspect ratio and resized. A data set with an option ``resolution`` gets the longer edge. None for the common
            size of all images, else 64.
        options: Options of a registered data set.
        registry: Registered data sets; None for paths only.
        cache: Cache directory; None for the default.
        progress: Called with the number of examples packed and the total.
        skip_bad: Skip examples that cannot be read, at most one in ten; ``note`` and ``left_out`` name them.

    Raises:
        OptionError: Invalid option.
        DataError: The source is not found or invalid.
        PluginError: A data set fails or violates the contract.
    """
    found = find_source(source, resolution, options or {}, registry, skip_bad)
    ready = _packed_at(found.dataset, found.resolution)
    if ready is not None:
        return replace(ready, note=found.note)
    key = found.cache_key()
    if key is None:
        return found.pack(None, progress)
    folder = (cache or cache_folder() / "data") / found.folder_name(key)
    if folder.exists():
        try:
            data = _load_cached(folder)
        except DataError:  # damaged, so it is packed again
            shutil.rmtree(folder, ignore_errors=True)
        else:
            return found.take(data)
    try:
        return found.pack(folder, progress)
    except FolderExistsError:  # packed by another process in the meantime
        return found.take(_load_cached(folder))
    except OSError as error:
        data = found.pack(None, progress)
        reason = f"packed in memory, since {folder.parent} is not writable: {error.strerror}"
        return replace(data, note="\n".join(filter(None, (data.note, reason))))


def open_configured(
    config: DataConfig, registry: Registry, *, cache: Path | None = None, progress: ProgressCallback | None = None
) -> PackedData:
    """Open the data of a run's configuration, with unpaired sources; arguments and errors as `open_data`."""
    data, *sources = (
        open_data(
            source,
            resolution=config.resolution,
            options=options,
            registry=registry,
            cache=cache,
            progress=progress,
            skip_bad=config.skip_bad,
        )
        for source, options in ((config.source, config.options), (config.sources, {}))
        if source is not None
    )
    return add_unpaired_sources(data, *sources) if sources else data


def pack_data(
    source: str,
    folder: Path,
    *,
    resolution: Resolution | None = None,
    options: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    progress: ProgressCallback | None = None,
    skip_bad: bool = False,
) -> PackedData:
    """Pack data into a new or empty folder; arguments and errors as in `open_data`."""
    found = find_source(source, resolution, options or {}, registry, skip_bad)
    ready = _packed_at(found.dataset, found.resolution)
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
class Source:
    """Open source: data set, name, name in error messages, resolution, source and options, and a note."""

    dataset: Any
    name: str
    title: str
    resolution: Resolution | None
    origin: Mapping[str, Any]
    skip_bad: bool
    note: str = ""

    def pack(self, folder: Path | None, progress: ProgressCallback | None) -> PackedData:
        """Pack the source into a folder, or in memory."""
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
        """Add notes to packed data; raise `DataError` if they lack examples that may not be skipped."""
        if data.left_out and not self.skip_bad:
            name, reason = next(iter(data.left_out.items()))
            raise skip_error(DataError(f"{self.title}, {short(name)}: {reason}"))
        skipped = describe_skipped(data.left_out, len(data) + len(data.left_out))
        return replace(data, note="\n".join(filter(None, (self.note, skipped))))

    def cache_key(self) -> str | None:
        """Return the validated cache key of the data set, or None."""
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
        """Return the name of the folder in the cache."""
        content = [FORMAT, self.name, self.resolution, self.origin.get("options"), cache_key]
        if isinstance(self.dataset, ImageFiles):
            content.append(_PREPARATION)
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', self.name)[:48]}-{digest[:16]}"


def find_source(
    source: str, resolution: Resolution | None, options: Mapping[str, Any], registry: Registry | None, skip_bad: bool
) -> Source:
    """Find a path or a registered data set; arguments and errors as in `open_data`."""
    resolution = read_resolution(resolution, "resolution")
    if not source:
        raise OptionError("the name of the data is empty", "give a path, or the name of a data set")
    names = registry.names("dataset") if registry else []
    path = Path(os.path.expanduser(source))  # Path.expanduser fails for an unknown user
    if registry and source in names:
        note = f"'{source}' is the name of a data set; for the path, use ./{source}" if os.path.exists(path) else ""
        return _find_registered(source, resolution, options, registry, skip_bad, note)
    if not os.path.exists(path) and path.name == source and names:
        if source == IMPORTED:
            raise DataError("the run was imported without its data", "give images: --data; to train: --init-from RUN")
        hint = suggest_path(path) or nearest(source, names)
        raise DataError(f"'{printable(source)}' is not a file, folder or data set", hint)
    if options:
        raise OptionError(f"{source} is a path, which has no option '{next(iter(options))}'", "omit it")
    dataset = open_source(path)
    whole = path.resolve()
    name = printable(whole.name if path.is_dir() else whole.stem)
    note = dataset.note if isinstance(dataset, ImageFiles) else ""
    return Source(dataset, name, printable(source), resolution, {"source": printable(source)}, skip_bad, note)


def _load_cached(folder: Path) -> PackedData:
    """Open a folder of the cache; wait while one that another machine has just written is not yet complete here."""
    start = time.monotonic()
    while True:
        try:
            return PackedData.load(folder)
        except DataError:
            try:
                age = time.time() - folder.stat().st_mtime
            except FileNotFoundError:
                age = 0.0
            if max(age, time.monotonic() - start) > LAG:
                raise
            time.sleep(LAG_POLL)


def _find_registered(
    name: str, resolution: Resolution | None, options: Mapping[str, Any], registry: Registry, skip_bad: bool, note: str
) -> Source:
    if resolution is not None and "resolution" in registry.options("dataset", name):
        edge = max(size_of(resolution))
        if options.get("resolution", edge) != edge:
            raise OptionError(f"dataset '{name}' has two resolutions", "set it once")
        options = {**options, "resolution": edge}
    options = registry.check("dataset", name, options)
    dataset = registry.build("dataset", name, options)
    origin = {"source": name, "options": dict(options)}
    return Source(dataset, name, f"dataset '{name}'", resolution, origin, skip_bad, note)


def _packed_at(dataset: Any, resolution: Resolution | None) -> PackedData | None:
    """Return data that are already packed and need no resizing, else None."""
    if isinstance(dataset, PackedFolder):
        data, spec = dataset.data, dataset.data.spec
        shapes = [spec.shape] + [spec.source_shape] * (data.sources is not None)
        if resolution is None or all(shape[1:] == size_of(resolution) for shape in shapes):
            return data
    return None


def probe_spec(config: DataConfig, registry: Registry) -> DataSpec:
    """Return the format of configured data, from as few examples as possible."""
    options = dict(config.options)
    if config.source in registry.names("dataset") and "count" in registry.options("dataset", config.source):
        options["count"] = 1
    with tempfile.TemporaryDirectory(prefix="ganforge-probe-") as folder:
        return open_configured(replace(config, options=options), registry, cache=Path(folder)).spec
