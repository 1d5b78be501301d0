"""``ganforge plugins``: list, describe, scaffold and check plugins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import CommandGroup, global_options, open_registry
from ganforge.cli.options import Json, argument, option
from ganforge.contract.errors import OptionError, nearest
from ganforge.core.console import print_result, say
from ganforge.core.text import escape_controls
from ganforge.plugins.kinds import KINDS
from ganforge.plugins.loading import Plugin

if TYPE_CHECKING:
    from ganforge.plugins.registry import Part

app = CommandGroup(help="List, describe, scaffold and check plugins.")


@app.command("list")
def list_plugins(as_json: Json = False) -> None:
    """List plugins and their parts."""
    from rich.console import Console
    from rich.table import Table

    plugins = open_registry().plugins
    if as_json:
        print_result(json.dumps([_plugin_tree(plugin) for plugin in plugins], indent=2))
        return
    table = Table("plugin", "package", "status", "parts", box=None)
    for plugin in plugins:
        offers = "; ".join(f"{kind}: {', '.join(sorted(parts))}" for kind, parts in plugin.parts.items())
        package = f"{plugin.distribution} {plugin.version}".strip()
        table.add_row(*map(escape_controls, (plugin.name, package, plugin.status, offers or plugin.error)))
    Console(highlight=False, markup=False).print(table)


@app.command()
def new(
    name: Annotated[str, argument("NAME", "Name of the part.")],
    kind: Annotated[
        str,
        option(
            "--kind",
            f"Kind of part: {', '.join(KINDS)}.",
            "KIND",
            complete=lambda incomplete: [each for each in KINDS if each.startswith(incomplete)],
        ),
    ] = "loss",
    to: Annotated[Path, option("--to", "Parent folder of the package.", "FOLDER")] = Path("."),
) -> None:
    """Scaffold a package with a new part and its tests; it installs and works unchanged."""
    from ganforge.plugins.scaffold import write_package

    folder = write_package(name, kind, to, open_registry())
    say(f'next:  cd {folder}\n       pip install -e ".[test]" && pytest\n       {KINDS[kind].usage.format(name=name)}')
    print_result(str(folder))


@app.command()
def info(
    name: Annotated[str, argument("NAME", "Part, e.g. dcgan, or plugin.")],
    as_json: Json = False,
) -> None:
    """Describe the parts of that name, with their options and defaults."""
    registry = open_registry()
    parts = [part for part in registry.parts() if name in (part.name, part.plugin.name)]
    if not parts:
        known = {part for plugin in registry.plugins for offered in plugin.parts.values() for part in offered}
        known |= {plugin.name for plugin in registry.plugins}
        raise OptionError(f"part or plugin '{name}' not found", nearest(name, known))
    if as_json:
        print_result(json.dumps([_part_tree(part) for part in parts], indent=2))
        return
    for part in parts:
        described = _part_tree(part)
        print_result(f"{part.kind} {part.name}  (plugin {part.plugin.name} of {part.plugin.distribution})")
        print_result(f"  {part.summary}")
        if "source" in described:
            print_result(f"  {described['source']}")
            print_result(f"  {json.dumps(described['settings'])}")
            for situation, settings in described.get("variants", {}).items():
                print_result(f"  for {situation}: {json.dumps(settings)}")
        for each in described["options"]:
            print_result(f"  {each['name']}: {each['type']} = {each['default']}  {each['help']}".rstrip())
        print_result("")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check plugins; exit code 1 if a problem is found.

    Plugins are imported in a subprocess first, which finds those that crash or hang. Recipes are resolved.
    """
    from ganforge.session.doctor import diagnose_plugins

    found = diagnose_plugins(global_options.plugins, global_options.disabled)
    if as_json:
        report = {
            "broken": [_plugin_tree(plugin) for plugin in found.broken],
            "clashes": found.clashes,
            "recipes": found.recipes,
            "warnings": found.warnings,
        }
        print_result(json.dumps(report, indent=2))
    else:
        for plugin in found.broken:
            print_result(escape_controls(f"{plugin.name} of {plugin.distribution} {plugin.version}: {plugin.error}"))
        for line in [*found.clashes, *found.recipes, *found.warnings]:
            print_result(escape_controls(line))
        if found.is_healthy:
            print_result(f"{found.plugins} plugins, no problems")
    if not found.is_healthy:
        raise typer.Exit(1)


def _plugin_tree(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "error": plugin.error,
        "parts": {kind: sorted(parts) for kind, parts in plugin.parts.items()},
    }


def _part_tree(part: Part) -> dict[str, Any]:
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
        described |= {"variants": dict(part.factory.variants)} if part.factory.variants else {}
    if part.kind == "regularizer":
        described["options"] = [
            {"name": "weight", "type": "float", "default": part.factory.weight, "help": "factor before the penalty"},
            {"name": "every", "type": "int", "default": part.factory.every, "help": "interval in steps of its player"},
            *described["options"],
        ]
    return described
