"""``ganforge plugins``: what is installed, what it offers, and why it is broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ganforge.cli.common import JsonOption, global_options, open_registry
from ganforge.contract.errors import OptionError, nearest
from ganforge.core.console import print_result, say
from ganforge.core.text import escape_controls
from ganforge.plugins.kinds import KINDS
from ganforge.plugins.loading import Plugin, load_plugins

if TYPE_CHECKING:
    from ganforge.plugins.registry import Part, Registry

app = typer.Typer(no_args_is_help=True, help="List plugins, describe what they offer, and find what is broken.")


@app.command("list")
def list_plugins(as_json: JsonOption = False) -> None:
    """List every plugin with what it offers."""
    plugins = open_registry().plugins
    if as_json:
        print_result(json.dumps([_as_dict(plugin) for plugin in plugins], indent=2))
        return
    table = Table("plugin", "package", "status", "offers", box=None)
    for plugin in plugins:
        offers = "; ".join(f"{kind}: {', '.join(sorted(parts))}" for kind, parts in plugin.parts.items())
        package = f"{plugin.distribution} {plugin.version}".strip()
        table.add_row(*map(escape_controls, (plugin.name, package, plugin.status, offers or plugin.error)))
    Console(highlight=False, markup=False).print(table)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the part, as users will type it.", show_default=False)],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            help=f"What it brings: {', '.join(KINDS)}.",
            autocompletion=lambda incomplete: [each for each in KINDS if each.startswith(incomplete)],
        ),
    ] = "loss",
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the package's folder is made.")] = Path("."),
) -> None:
    """Write a package for a part of your own, with tests, that installs and works as it is."""
    from ganforge.plugins.scaffold import write_package

    folder = write_package(name, kind, to, open_registry())
    say(f'next:  cd {folder}\n       pip install -e ".[test]" && pytest\n       {KINDS[kind].usage.format(name=name)}')
    print_result(str(folder))


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A part such as dcgan, or a plugin.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Describe everything of that name, with its options and their defaults."""
    registry = open_registry()
    parts = _parts_called(registry, name)
    if not parts:
        known = {part for plugin in registry.plugins for offered in plugin.parts.values() for part in offered}
        known |= {plugin.name for plugin in registry.plugins}
        raise OptionError(f"no part or plugin is called '{name}'", nearest(name, known))
    if as_json:
        print_result(json.dumps([_describe(part) for part in parts], indent=2))
        return
    for part in parts:
        described = _describe(part)
        print_result(f"{part.kind} {part.name}  (plugin {part.plugin.name} of {part.plugin.distribution})")
        print_result(f"  {part.summary}")
        if "source" in described:
            print_result(f"  {described['source']}")
            print_result(f"  {json.dumps(described['settings'])}")
        for option in described["options"]:
            print_result(f"  {option['name']}: {option['type']} = {option['default']}  {option['help']}".rstrip())
        print_result("")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Explain what is wrong with plugins; exit code 1 if anything is.

    Plugins are imported in another process first: one that ends it, or does not return, is named. Recipes are resolved.
    """
    from ganforge.config.schema import check_recipes
    from ganforge.plugins.registry import Registry
    from ganforge.plugins.trial import find_fatal_plugins

    fatal = find_fatal_plugins(global_options.plugins, global_options.disabled)
    files = [path for path in global_options.plugins if path.stem not in fatal]
    registry = Registry(load_plugins(files, [*global_options.disabled, *fatal]))
    broken = [
        replace(plugin, status="broken", error=fatal[plugin.name]) if plugin.name in fatal else plugin
        for plugin in registry.plugins
        if plugin.status == "broken" or plugin.name in fatal
    ]
    lost = [path for path in global_options.plugins if path.stem in fatal]
    broken += [Plugin(path.stem, str(path), "", "broken", fatal[path.stem]) for path in lost]
    clashes = registry.clashes()
    recipes = check_recipes(registry)
    warnings = [f"{plugin.name}: {warning}" for plugin in registry.plugins for warning in plugin.warnings]
    if as_json:
        report = {
            "broken": [_as_dict(plugin) for plugin in broken],
            "clashes": clashes,
            "recipes": recipes,
            "warnings": warnings,
        }
        print_result(json.dumps(report, indent=2))
    else:
        for plugin in broken:
            print_result(escape_controls(f"{plugin.name} of {plugin.distribution} {plugin.version}: {plugin.error}"))
        for line in [*clashes, *recipes, *warnings]:
            print_result(escape_controls(line))
        if not (broken or clashes or recipes or warnings):
            print_result(f"{len(registry.plugins)} plugins, all well")
    if broken or clashes or recipes or warnings:
        raise typer.Exit(1)


def _parts_called(registry: Registry, name: str) -> list[Part]:
    return [part for part in registry.parts() if name in (part.name, part.plugin.name)]


def _as_dict(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "error": plugin.error,
        "parts": {kind: sorted(parts) for kind, parts in plugin.parts.items()},
    }


def _describe(part: Part) -> dict[str, Any]:
    described: dict[str, Any] = {
        "kind": part.kind,
        "name": part.name,
        "plugin": part.plugin.name,
        "distribution": part.plugin.distribution,
        "summary": part.summary,
        "options": [
            {"name": each.name, "type": each.type_name, "default": each.shown_default, "help": each.help}
            for each in part.options.values()
        ],
    }
    if part.kind == "recipe":
        described |= {"source": part.factory.source, "settings": dict(part.factory.settings)}
        described |= {"training_on_cpu": dict(part.factory.training_on_cpu)} if part.factory.training_on_cpu else {}
    if part.kind == "regularizer":
        described["options"] = [
            {"name": "weight", "type": "float", "default": part.factory.weight, "help": "factor before the penalty"},
            {"name": "every", "type": "int", "default": part.factory.every, "help": "interval in steps of its player"},
            *described["options"],
        ]
    return described
