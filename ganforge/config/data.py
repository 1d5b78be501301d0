"""Configuration of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganforge.config.resolution import Resolution, read_resolution
from ganforge.plugins.options import coerce
from ganforge.plugins.registry import Registry


@dataclass(frozen=True)
class DataConfig:
    """Source of examples.

    Attributes:
        source: Path, or name of a data set.
        resolution: Edge in pixels, or text such as ``256x192``; None for the data's own.
        skip_bad: Whether to skip unreadable examples, if they are few.
        sources: Path, or name of a data set, of unpaired source images; None for none.
        options: Options of a data set.
    """

    source: str
    resolution: Resolution | None
    skip_bad: bool
    sources: str | None
    options: Mapping[str, Any]


def read_data(registry: Registry, settings: Mapping[str, Any]) -> DataConfig:
    """Return the section ``data``; raise `OptionError` if it is invalid."""
    options = dict(settings)
    source = coerce(options.pop("source"), str, "data.source")
    resolution = read_resolution(options.pop("resolution", None), "data.resolution")
    skip_bad = coerce(options.pop("skip_bad", False), bool, "data.skip_bad")
    sources = take_sources(registry, source, options)
    if source in registry.names("dataset"):  # options of a path are refused where the path is opened
        checked = registry.check("dataset", source, options)
        options = {name: value for name, value in checked.items() if name not in ("source", "resolution", "skip_bad")}
    return DataConfig(source, resolution, skip_bad, sources, options)


def take_sources(registry: Registry, source: str, options: dict[str, Any]) -> str | None:
    """Remove and return the unpaired sources from the options of data; a data set may have its own such option."""
    own = registry.options("dataset", source) if source in registry.names("dataset") else {}
    return None if "sources" in own else coerce(options.pop("sources", None), str | None, "data.sources")
