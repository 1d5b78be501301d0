"""Check of commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.testing import CliRunner

from ganforge.contract.errors import explain
from ganforge.testing.requirements import require


def check_command(command: Callable[..., Any], *arguments: object) -> str:
    """Check a command: help of it and of each option; run it with arguments, if there are any.

    Args:
        command: Function, or object of ``typer.Typer``.
        arguments: Words of the command line.

    Returns:
        Standard output.
    """
    app = command if isinstance(command, typer.Typer) else typer.Typer()
    if app is not command:
        app.command()(command)
    for name, each in _commands("", typer.main.get_command(app)):
        require(bool(each.help), f"command{name} has no help: write a docstring")
        for parameter in each.params:
            title = (parameter.opts or [parameter.name])[0]
            require(bool(getattr(parameter, "help", "")), f"{title} of command{name} has no help")
    if not arguments:
        return ""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"it failed: {explain(result.exception)}") from result.exception
    require(result.exit_code == 0, f"it exits with code {result.exit_code}: {result.output}")
    return result.stdout


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for each, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {each}", inner)
