"""Finds plugins, loads them one by one, and says of each what it offers or why it is broken."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

import pluggy

from ganforge.contract import hookspecs
from ganforge.contract.errors import OptionError, PluginError, explain, nearest
from ganforge.version import API_VERSION

HOOKS = {
    "generator": "ganforge_generators",
    "discriminator": "ganforge_discriminators",
    "loss": "ganforge_losses",
    "regularizer": "ganforge_regularizers",
    "augmentation": "ganforge_augmentations",
    "dataset": "ganforge_datasets",
    "recipe": "ganforge_recipes",
    "exporter": "ganforge_exporters",
    "extractor": "ganforge_extractors",
    "logger": "ganforge_loggers",
}
"""The hook that brings each kind of part."""

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Plugin:
    """One plugin and what became of it.

    Attributes:
        name: Its entry point's name, or its file's stem.
        distribution: The installed package that brings it, or the path of its file.
        version: The package's version; empty for a file.
        status: Whether it is of use.
        error: Why it is broken, as one line.
        parts: For each kind of part, names and what stands behind them.
        warnings: Global settings that its import changed, and that were restored.
    """

    name: str
    distribution: str
    version: str
    status: Literal["ok", "broken", "disabled"]
    error: str = ""
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def load_plugins(
    files: Sequence[Path] = (),
    disabled: Collection[str] = (),
    announce: Callable[[str], None] = lambda name: None,
) -> list[Plugin]:
    """Load all installed plugins in order of name, then the files. A broken one never stops another.

    Args:
        files: One-file plugins, by path.
        disabled: Names of plugins that are not even imported.
        announce: Called with the name of each plugin before it is imported.

    Raises:
        OptionError: A disabled name that no plugin has, or a file that is not there.
        PluginError: A file is broken; it was asked for, so it is not passed over.
    """
    found = sorted(entry_points(group="ganforge"), key=lambda point: (point.name, _distribution(point)))
    names = {point.name for point in found} | {path.stem for path in files}
    for name in disabled:
        if name not in names:
            raise OptionError(f"--disable {name}: no plugin has that name", nearest(name, names))
    plugins = []
    for point in found:
        announce(point.name)
        plugins.append(_from_entry_point(point, point.name in disabled))
    for path in files:
        if path.stem not in disabled:
            announce(path.stem)
            plugins.append(_from_file(path))
    return plugins


@contextmanager
def _contained(warnings: list[str]) -> Iterator[None]:
    """Import a plugin in the block: what it prints goes to standard error, and torch's defaults are restored.

    Args:
        warnings: Gets one line for each default of torch that the plugin changed.

    Raises:
        PluginError: The block raised anything but an interrupt by the keyboard.
    """
    torch = sys.modules.get("torch")
    before = torch.get_default_dtype() if torch else None
    try:
        with redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(explain(error)) from error
    finally:
        torch = sys.modules.get("torch")
        dtype = torch.get_default_dtype() if torch else None
        if torch and dtype != (before or torch.float32):
            torch.set_default_dtype(before or torch.float32)
            warnings.append(f"its import set torch's default dtype to {dtype}; it was restored")


@lru_cache(maxsize=64)
def _identify(distribution: Distribution) -> tuple[str, str]:
    """Return name and version; reading them takes a millisecond, and there are many entry points."""
    return distribution.name, distribution.version


def _distribution(point: EntryPoint) -> str:
    return _identify(point.dist)[0] if point.dist else "unknown"


def _from_entry_point(point: EntryPoint, disabled: bool) -> Plugin:
    version = _identify(point.dist)[1] if point.dist else ""
    if disabled:
        return Plugin(point.name, _distribution(point), version, "disabled")
    warnings: list[str] = []
    try:
        with _contained(warnings):
            parts = collect_parts(point.load())
    except PluginError as error:
        return Plugin(point.name, _distribution(point), version, "broken", str(error), warnings=warnings)
    return Plugin(point.name, _distribution(point), version, "ok", parts=parts, warnings=warnings)


def _from_file(path: Path) -> Plugin:
    if path.suffix != ".py" or not path.is_file():
        raise OptionError(f"--plugin {path}: no such Python file", "give the path of a file that ends in .py")
    name = f"ganforge_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise OptionError(f"--plugin {path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    warnings: list[str] = []
    try:
        with _contained(warnings):
            spec.loader.exec_module(module)
            parts = collect_parts(module)
    except PluginError as error:
        raise PluginError(f"--plugin {path}: {error}", "mend the file, or leave the flag out") from error
    return Plugin(path.stem, str(path), "", "ok", parts=parts, warnings=warnings)


def collect_parts(module: object) -> dict[str, dict[str, Any]]:
    """Ask a plugin for all that it offers.

    Args:
        module: A module, or any object, with decorated hook functions.

    Raises:
        PluginError: It was written for another version of the contract; or a hook is misspelt, undecorated, takes
            arguments or returns something else than a mapping; or there is none.
    """
    written_for = getattr(module, "GANFORGE_API", API_VERSION)
    if written_for != API_VERSION:
        raise PluginError(
            f"it was written for version {written_for} of the contract, and this ganforge has {API_VERSION}",
            "upgrade the plugin" if written_for < API_VERSION else "upgrade ganforge",
        )
    manager = pluggy.PluginManager("ganforge")
    manager.add_hookspecs(hookspecs)
    for name, value in vars(module).items():
        if name.startswith("ganforge_") and callable(value) and not hasattr(value, "ganforge_impl"):
            raise PluginError(f"{name} is not decorated: put @hookimpl above it")
        if hasattr(value, "ganforge_impl") and name not in HOOKS.values():
            raise PluginError(f"{name} is no hook of ganforge", nearest(name, HOOKS.values()))
        if hasattr(value, "ganforge_impl") and (arguments := list(inspect.signature(value).parameters)):
            raise PluginError(f"{name} takes {', '.join(arguments)}; a hook takes no arguments")
    manager.register(module)
    parts: dict[str, dict[str, Any]] = {}
    for kind, hook in HOOKS.items():
        for offered in getattr(manager.hook, hook)():
            if not isinstance(offered, Mapping):
                raise PluginError(
                    f"{hook} returned {type(offered).__name__}; it must return a mapping from name to part"
                )
            for name, part in offered.items():
                _check_part(kind, name, part)
                parts.setdefault(kind, {})[name] = part
    if not parts:
        raise PluginError("it implements no hook", f"implement one of {', '.join(HOOKS.values())}")
    return parts


def _check_part(kind: str, name: object, part: object) -> None:
    import ganforge

    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginError(f"{kind} name {name!r} must be lower-case letters, digits and hyphens")
    if kind == "recipe":
        if not isinstance(part, ganforge.Recipe):
            raise PluginError(f"recipe '{name}' is a {type(part).__name__}; it must be a ganforge.Recipe")
    elif kind == "dataset":
        if not callable(part):
            raise PluginError(f"dataset '{name}' is a {type(part).__name__}; it must be a class or a function")
    else:
        base = getattr(ganforge, kind.capitalize())
        if not (isinstance(part, type) and issubclass(part, base)):
            raise PluginError(f"{kind} '{name}' must be a class that derives from ganforge.{base.__name__}")
