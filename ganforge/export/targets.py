"""Build exporters and choose the file of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganforge.config.sources import parse_setting
from ganforge.contract.errors import OptionError, nearest
from ganforge.contract.exporter import Exporter
from ganforge.plugins.registry import Registry


def make_exporters(names: Sequence[str], settings: Sequence[str], registry: Registry) -> dict[str, Exporter]:
    """Build exporters.

    Args:
        names: Names of formats.
        settings: Options, each as ``NAME.OPTION=VALUE``.
        registry: Where exporters are looked up.

    Raises:
        OptionError: A name or option is unknown, or an option belongs to a format that is not exported.
    """
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for text in settings:
        ((name, given),) = parse_setting(text).items()
        if name not in options:
            raise OptionError(f"--set {text}: format '{name}' is not exported", nearest(name, names))
        options[name] |= given
    return {name: registry.build("exporter", name, options[name]) for name in names}


def choose_targets(exporters: Mapping[str, Exporter], to: Path | None, folder: Path) -> dict[str, Path]:
    """Choose the file of each format, which is a folder for some formats.

    Args:
        exporters: Exporters by name.
        to: A folder, or the file if there is one format; None for the default.
        folder: Default folder.

    Raises:
        OptionError: The file has the wrong suffix, or is given for several formats or for none.
    """
    if to is not None and not exporters:
        raise OptionError(f"--to {to}: no format uses it", "add --torchscript")
    targets = {name: (to or folder) / f"generator{exporter.suffix}" for name, exporter in exporters.items()}
    files = {name: exporter for name, exporter in exporters.items() if exporter.suffix.startswith(".")}
    if to is not None and to.suffix and files and not to.is_dir():
        (name, exporter), *others = files.items()
        if others:
            raise OptionError(f"--to {to}: several formats need a folder", f"such as {to.with_suffix('')}")
        if to.suffix != exporter.suffix:
            raise OptionError(
                f"--to {to}: a file of the format '{name}' ends in {exporter.suffix}",
                f"such as {to.with_suffix(exporter.suffix)}",
            )
        targets[name] = to
    if len(set(targets.values())) < len(targets):
        raise OptionError(f"{' and '.join(targets)} would write the same file", "export them one at a time with --to")
    return targets
