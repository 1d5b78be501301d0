"""Plugin loading from entry points and files."""

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
from ganforge.plugins.kinds import BUILT_IN_COMMANDS, KINDS
from ganforge.version import API_VERSION, OLDEST_API_VERSION

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Plugin:
    """A plugin and its state.

    Attributes:
        name: Name of the entry point, or stem of the file.
        distribution: Installed package, or path of the file; `version` is empty for a file.
        error: Reason of a broken plugin, as one line.
        parts: Parts by kind and name.
        warnings: Global settings that its import changed; they are restored.
    """

    name: str
    distribution: str
    version: str
    status: Literal["ok", "broken", "disabled"]
    error: str = ""
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def load_plugins(
    files: Sequence[Path] = (), disabled: Collection[str] = (), announce: Callable[[str], None] = lambda name: None
) -> list[Plugin]:
    """Load all installed plugins in order of name, then the files; a broken one does not stop others.

    Args:
        files: One-file plugins; a broken one raises a PluginError.
        disabled: Names of plugins to skip.
        announce: Called with the name of each plugin before its import.
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
    """Import a plugin in the block, with standard output on standard error; restore torch's default dtype.

    Exceptions become a PluginError; `warnings` receives a line for each changed setting.
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
        raise OptionError(f"--plugin {path}: no such Python file", "give the path of a .py file")
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
        raise PluginError(f"--plugin {path}: {error}", "correct the file, or omit the flag") from error
    return Plugin(path.stem, str(path), "", "ok", parts=parts, warnings=warnings)


def collect_parts(module: object) -> dict[str, dict[str, Any]]:
    """Collect all parts of a module, or any object with decorated hook functions, by kind and name."""
    written_for = getattr(module, "GANFORGE_API", API_VERSION)
    if not isinstance(written_for, int) or not OLDEST_API_VERSION <= written_for <= API_VERSION:
        raise PluginError(
            f"it requires version {written_for} of the contract; this ganforge has {API_VERSION}",
            "upgrade ganforge" if isinstance(written_for, int) and written_for > API_VERSION else "upgrade the plugin",
        )
    hooks = [kind.hook for kind in KINDS.values()]
    manager = pluggy.PluginManager("ganforge")
    manager.add_hookspecs(hookspecs)
    for name, value in vars(module).items():
        if name.startswith("ganforge_") and callable(value) and not hasattr(value, "ganforge_impl"):
            raise PluginError(f"{name} is not decorated: put @hookimpl above it")
        if hasattr(value, "ganforge_impl") and name not in hooks:
            raise PluginError(f"unknown hook {name}", nearest(name, hooks))
        if hasattr(value, "ganforge_impl") and (arguments := list(inspect.signature(value).parameters)):
            raise PluginError(f"{name} takes {', '.join(arguments)}; a hook takes no arguments")
    manager.register(module)
    parts: dict[str, dict[str, Any]] = {}
    for kind, hook in zip(KINDS, hooks, strict=True):
        for offered in getattr(manager.hook, hook)():
            if not isinstance(offered, Mapping):
                raise PluginError(
                    f"{hook} returned {type(offered).__name__}; it must return a mapping from name to part"
                )
            for name, part in offered.items():
                _check_part(kind, name, part)
                parts.setdefault(kind, {})[name] = part
    if not parts:
        raise PluginError("it implements no hook", f"implement one of {', '.join(hooks)}")
    return parts


def _check_part(kind: str, name: object, part: object) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginError(f"{kind} name {name!r} must be lower-case letters, digits and hyphens")
    if kind == "command" and name in BUILT_IN_COMMANDS:
        raise PluginError(f"command '{name}' is built in", "choose another name")
    if error := KINDS[kind].find_error(part):
        raise PluginError(f"{kind} '{name}' is a {type(part).__name__}; it must be {error}")
