"""Registry of parts: lookup by name, options, construction."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganforge.contract.errors import GanforgeError, OptionError, PluginError, explain, nearest
from ganforge.core.memory import TooLargeError, limit_memory, machine_memory
from ganforge.plugins.loading import Plugin, load_plugins
from ganforge.plugins.options import Option, check_options, read_options
from ganforge.plugins.part_errors import PLUGIN_NAMES


@dataclass(frozen=True)
class Part:
    """A named part and its plugin."""

    kind: str
    name: str
    factory: Any
    plugin: Plugin

    @property
    def summary(self) -> str:
        """Description in one line."""
        if self.kind == "command" and not inspect.isfunction(self.factory):
            text = self.factory.info.help or ""
        else:
            text = getattr(self.factory, "summary", None) or inspect.getdoc(self.factory) or ""
        return str(text).split("\n\n", 1)[0].replace("\n", " ")

    @property
    def options(self) -> dict[str, Option]:
        """Options by name; empty for a recipe, and for a command, whose --help shows its own."""
        return read_options(self.factory) if callable(self.factory) and self.kind != "command" else {}

    def describe(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the description of the part with its options for a card."""
        return {
            "name": self.name,
            "options": dict(options),
            "plugin": self.plugin.name,
            "distribution": self.plugin.distribution,
            "distribution_version": self.plugin.version,
        }


class Registry:
    """Parts of all plugins by kind and name; broken plugins are named in errors."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = list(plugins)
        self._parts: dict[tuple[str, str], list[Part]] = {}
        for plugin in plugins:
            for kind, offered in plugin.parts.items():
                for name, factory in offered.items():
                    self._parts.setdefault((kind, name), []).append(Part(kind, name, factory, plugin))

    @classmethod
    def installed(cls) -> Registry:
        """Load every installed plugin."""
        return cls(load_plugins())

    def names(self, kind: str) -> list[str]:
        """Return the sorted names of a kind."""
        return sorted(name for of_kind, name in self._parts if of_kind == kind)

    def parts(self) -> list[Part]:
        """Return all parts, by kind and name."""
        return [part for key in sorted(self._parts) for part in self._parts[key]]

    def clashes(self) -> list[str]:
        """Return a line for each name that several plugins use."""
        return [_clash(found) for found in self._parts.values() if len(found) > 1]

    def part(self, kind: str, name: str) -> Part:
        """Return a part."""
        found = self._parts.get((kind, name), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise OptionError(
                _clash(found), f"choose one with --disable {found[0].plugin.name} or --disable {found[-1].plugin.name}"
            )
        broken = [plugin.name for plugin in self.plugins if plugin.status == "broken"]
        hint = nearest(name, self.names(kind))
        if not hint.startswith("did you mean"):
            hint += "; if it is in a file of yours, load it: --plugin FILE.py"
        if broken:
            hint += f"; broken plugins: {', '.join(broken)}, see `ganforge plugins doctor`"
        raise OptionError(f"unknown {kind} '{name}'", hint)

    def options(self, kind: str, name: str) -> dict[str, Option]:
        """Return the options of a part."""
        return self.part(kind, name).options

    def check(self, kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Convert options of a part to their types and add defaults."""
        schema = self.options(kind, name)
        defaults = {option.name: option.default for option in schema.values()}
        return {**defaults, **check_options(options, schema, f"{kind} '{name}'")}

    def build(
        self, kind: str, name: str, options: Mapping[str, Any], *arguments: Any, most_bytes: int | None = None
    ) -> Any:
        """Create a part.

        Args:
            kind: Kind other than ``recipe``.
            name: Name of the part.
            options: Values other than defaults.
            arguments: A `DataSpec` for networks; ignored by regularizers without an argument ``data``.
            most_bytes: Maximum memory of its weights; None for all of the machine's memory.
        """
        part = self.part(kind, name)
        checked = self.check(kind, name, options)
        if kind == "regularizer" and not takes_data(part.factory):
            arguments = ()
        PLUGIN_NAMES[kind, name] = part.plugin.name
        try:
            with limit_memory(machine_memory() if most_bytes is None else most_bytes):
                return part.factory(*arguments, **checked)
        except GanforgeError:
            raise
        except TooLargeError as error:
            raise OptionError(f"{kind} '{name}' {error}", f"its options were {_describe(part, checked)}") from error
        except ValueError as error:
            raise OptionError(f"{kind} '{name}': {error}") from error
        except Exception as error:
            raise PluginError(
                f"{kind} '{name}' of plugin '{part.plugin.name}' cannot be created: {explain(error)}",
                f"its options were {checked}",
            ) from error


def takes_data(factory: Callable[..., Any]) -> bool:
    """Return whether a constructor has a positional argument ``data``."""
    found = inspect.signature(factory).parameters.get("data")
    return found is not None and found.kind is not inspect.Parameter.KEYWORD_ONLY


def _describe(part: Part, options: Mapping[str, Any]) -> str:
    given = {name: value for name, value in options.items() if value != part.options[name].default}
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "defaults"


def _clash(found: Sequence[Part]) -> str:
    owners = " and ".join(f"plugin '{part.plugin.name}' of {part.plugin.distribution}" for part in found)
    return f"{found[0].kind} '{found[0].name}' is ambiguous: offered by {owners}"
