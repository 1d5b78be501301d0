"""From names to parts: looks up what plugins offer and builds it from options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganforge.contract.errors import GanforgeError, OptionError, PluginError, explain, nearest
from ganforge.core.memory import TooLargeError, bounded, machine_memory
from ganforge.plugins.blame import MAKERS
from ganforge.plugins.loading import Plugin, load_plugins
from ganforge.plugins.options import Option, check_options, read_options


@dataclass(frozen=True)
class Part:
    """One named part and the plugin that brings it."""

    kind: str
    name: str
    factory: Any
    plugin: Plugin

    @property
    def summary(self) -> str:
        """What it is, in one line."""
        text = getattr(self.factory, "summary", None) or inspect.getdoc(self.factory) or ""
        return str(text).split("\n\n", 1)[0].replace("\n", " ")

    @property
    def options(self) -> dict[str, Option]:
        """Its options; a recipe has none."""
        return read_options(self.factory) if callable(self.factory) else {}


class Registry:
    """All parts of all plugins by kind and name.

    Args:
        plugins: What was loaded, broken ones included: they are named when a part is missed.
    """

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = list(plugins)
        self._parts: dict[tuple[str, str], list[Part]] = {}
        for plugin in plugins:
            for kind, offered in plugin.parts.items():
                for name, factory in offered.items():
                    self._parts.setdefault((kind, name), []).append(Part(kind, name, factory, plugin))

    @classmethod
    def installed(cls) -> Registry:
        """The parts of every installed plugin."""
        return cls(load_plugins())

    def names(self, kind: str) -> list[str]:
        """Sorted names of all parts of a kind."""
        return sorted(name for of_kind, name in self._parts if of_kind == kind)

    def parts(self) -> list[Part]:
        """Every part, by kind and name."""
        return [part for key in sorted(self._parts) for part in self._parts[key]]

    def clashes(self) -> list[str]:
        """What is offered more than once, as one line each."""
        return [_clash(found) for found in self._parts.values() if len(found) > 1]

    def part(self, kind: str, name: str) -> Part:
        """Look one part up.

        Raises:
            OptionError: There is none of that name, or more than one.
        """
        found = self._parts.get((kind, name), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise OptionError(
                _clash(found),
                f"choose one with --disable {found[0].plugin.name} or --disable {found[-1].plugin.name}",
            )
        broken = [plugin.name for plugin in self.plugins if plugin.status == "broken"]
        hint = nearest(name, self.names(kind))
        if broken:
            hint += f"; broken plugins: {', '.join(broken)}, see `ganforge plugins doctor`"
        raise OptionError(f"unknown {kind} '{name}'", hint)

    def options(self, kind: str, name: str) -> dict[str, Option]:
        """The options of a part; see `part` for errors."""
        return self.part(kind, name).options

    def check(self, kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Bring options of a part to their types; the defaults of those not given are filled in.

        Raises:
            OptionError: Unknown part, unknown option, or a value of the wrong type.
        """
        schema = self.options(kind, name)
        defaults = {option.name: option.default for option in schema.values()}
        return {**defaults, **check_options(options, schema, f"{kind} '{name}'")}

    def build(
        self, kind: str, name: str, options: Mapping[str, Any], *arguments: Any, most_bytes: int | None = None
    ) -> Any:
        """Make a part.

        Args:
            kind: One of `KINDS` other than ``recipe``.
            name: Its name.
            options: What differs from the defaults.
            arguments: What the data dictate: a `DataSpec` for networks. A regularizer gets it if it asks for it; see
                `takes_data`.
            most_bytes: What its weights may take; None for all of the machine's memory.

        Raises:
            OptionError: Unknown part or option, a value that the part refuses with ``ValueError``, or weights that
                would take more memory.
            PluginError: The part raised something else while it was made.
        """
        part = self.part(kind, name)
        checked = self.check(kind, name, options)
        if kind == "regularizer" and not takes_data(part.factory):
            arguments = ()
        MAKERS[kind, name] = part.plugin.name
        try:
            with bounded(machine_memory() if most_bytes is None else most_bytes):
                return part.factory(*arguments, **checked)
        except GanforgeError:
            raise
        except TooLargeError as error:
            raise OptionError(f"{kind} '{name}' {error}", f"given were {_describe(part, checked)}") from error
        except ValueError as error:
            raise OptionError(f"{kind} '{name}': {error}") from error
        except Exception as error:
            raise PluginError(
                f"{kind} '{name}' of plugin '{part.plugin.name}' could not be made: {explain(error)}",
                f"given were {checked}",
            ) from error


def takes_data(factory: Callable[..., Any]) -> bool:
    """Whether a constructor has an argument ``data`` that is no option, and so is given the `DataSpec`."""
    found = inspect.signature(factory).parameters.get("data")
    return found is not None and found.kind is not inspect.Parameter.KEYWORD_ONLY


def _describe(part: Part, options: Mapping[str, Any]) -> str:
    """The options that are not as they are by default."""
    given = {name: value for name, value in options.items() if value != part.options[name].default}
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "no options"


def _clash(found: Sequence[Part]) -> str:
    owners = " and ".join(f"plugin '{part.plugin.name}' of {part.plugin.distribution}" for part in found)
    return f"{found[0].kind} '{found[0].name}' is offered more than once: by {owners}"
