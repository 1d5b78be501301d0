"""Commands of plugins, which are loaded only for a word that is no built-in command."""

from __future__ import annotations

from typing import Any

import typer

from ganforge.cli.common import HelpGroup, global_options, open_registry
from ganforge.contract.errors import GanforgeError, OptionError, PluginError, explain, nearest
from ganforge.plugins.kinds import BUILT_IN_COMMANDS

_PARSER_ERROR = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")

_PASSING: tuple[type[Any], ...] = (GanforgeError, OSError, MemoryError, typer.Exit, typer.Abort, _PARSER_ERROR)
"""Exceptions that the command line prints itself."""


class RootGroup(HelpGroup):
    """The group of all commands; words that are no built-in command are looked up among those of plugins."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is not None or ctx.resilient_parsing:
            return found
        global_options.plugins = ctx.params.get("plugin") or []
        global_options.disabled = ctx.params.get("disable") or []
        return open_command(cmd_name)


def open_command(name: str) -> Any:
    """Return a plugin's command for the parser; raise OptionError for an unknown name."""
    registry = open_registry()
    names = registry.names("command")
    if name not in names:
        broken = [plugin.name for plugin in registry.plugins if plugin.status == "broken"]
        hint = nearest(name, [*BUILT_IN_COMMANDS, *names])
        if broken:
            hint += f"; broken plugins: {', '.join(broken)}, see `ganforge plugins doctor`"
        raise OptionError(f"unknown command '{name}'", hint)
    part = registry.part("command", name)
    app = part.factory
    if not isinstance(app, typer.Typer):
        app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})
        app.command()(part.factory)
    command = typer.main.get_command(app)
    command.name, invoke = name, command.invoke

    def invoke_named(context: Any) -> Any:
        try:
            return invoke(context)
        except _PASSING:
            raise
        except Exception as error:
            raise PluginError(
                f"command '{name}' of plugin '{part.plugin.name}' failed: {explain(error)}",
                "correct the plugin; --debug shows the traceback",
            ) from error

    command.invoke = invoke_named  # type: ignore[method-assign, assignment]
    return command
