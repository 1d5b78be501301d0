"""Generate the pages of docs/reference from code: ``python docs/reference.py``.

A test compares the pages with the output.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from api_page import write_entry

import ganforge
from ganforge import testing
from ganforge.cli import app
from ganforge.contract import hookspecs
from ganforge.plugins.kinds import KINDS
from ganforge.plugins.registry import Part, Registry
from ganforge.plugins.scaffold import example

FOLDER = Path(__file__).parent / "reference"


def write_commands() -> str:
    """Return the page of all commands with their arguments and options."""
    lines = [
        "# Commands",
        "",
        "`--help` after a command prints the same. `--plugin FILE.py`, `--disable NAME` and `--debug` are allowed "
        "before or after any command.",
        "",
    ]
    for path, command in walk(typer.main.get_command(app), ()):
        lines += [f"## `{' '.join(('ganforge', *path))}`", "", *paragraphs(command.help or ""), ""]
        rows = [describe(each) for each in command.params if each.name != "help" and not each.hidden]
        if rows:
            lines += ["| argument | default | description |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all commands below one, each with its path."""
    for name, each in getattr(command, "commands", {}).items():
        if hasattr(each, "commands"):
            yield from walk(each, (*path, name))
        else:
            yield (*path, name), each


def describe(parameter: Any) -> str:
    """Return a table row of an argument or an option: syntax, default, help."""
    if parameter.param_type_name == "argument":
        given = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        takes = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
        given = f"`{'`, `'.join(parameter.opts)}{takes}`"
    default = parameter.default
    hidden = default is None or default is False or default == () or callable(default)
    shown = "" if hidden else f"`{default}`"
    return f"| {bar(given)} | {bar(shown)} | {bar(' '.join((parameter.help or '').split()))} |"


def bar(text: str) -> str:
    """Escape bars, which end a table cell."""
    return text.replace("|", "\\|")


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a docstring without line breaks."""
    found = [" ".join(each.split()) for each in inspect.cleandoc(text).split("\n\n")]
    return [line for each in found for line in (each, "")][:-1]


def write_hooks() -> str:
    """Return the page of all hooks with docstring, base class and example."""
    lines = [
        "# Hooks",
        "",
        f"The contract of ganforge {ganforge.__version__} with its plugins, version {ganforge.API_VERSION}. "
        "A hook takes no arguments and returns a mapping from name to part. `ganforge plugins new NAME --kind KIND` "
        "writes a package for any hook, and `ganforge.testing` checks it.",
        "",
    ]
    for name, kind in KINDS.items():
        words = inspect.cleandoc(getattr(hookspecs, kind.hook).__doc__ or "")
        forms = {"instance": "instances of ", "command": "functions, or objects of `typer.Typer`"}
        base = f"[`ganforge.{kind.base}`](api.md#{kind.base.lower()})" if kind.base else ""
        lines += [
            f"## `{kind.hook}`",
            "",
            *paragraphs(words.replace("``", "`")),
            "",
            f"Kind *{name}*: {forms.get(kind.form, 'subclasses of ')}{base}.",
            "",
            "```python",
            example(f"my-{name}", name).rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def write_parts() -> str:
    """Return the page of all built-in parts with their options."""
    lines = [
        "# Parts",
        "",
        "All built-in parts. `ganforge plugins info NAME` prints the same for any installed part.",
        "",
    ]
    registry = Registry.installed()
    for kind in KINDS:
        lines += [f"## {KINDS[kind].plural.capitalize()}", ""]
        for name in registry.names(kind):
            part = next(each for each in registry.parts() if (each.kind, each.name) == (kind, name))
            if part.plugin.distribution == "ganforge":
                lines += describe_part(part)
    return "\n".join(lines).rstrip() + "\n"


def describe_part(part: Part) -> list[str]:
    """Return the summary and the option table of a part."""
    lines = [f"### {part.kind} `{part.name}`", "", part.summary.replace("``", "`"), ""]
    if part.kind == "recipe":
        lines += [part.factory.source, ""]
    rows = [
        f"| `{each.name}` | `{bar(each.type_name)}` | `{each.shown_default}` | {bar(each.help.replace('``', '`'))} |"
        for each in part.options.values()
    ]
    header = ["| option | type | default | description |", "| --- | --- | --- | --- |"]
    return lines + ([*header, *rows, ""] if rows else [])


def write_api() -> str:
    """Return the page of all public names with signatures and docstrings."""
    groups = {
        "Training and runs": ["train", "open_run", "load", "generate", "Run"],
        "Parts": [
            each
            for each in (
                "DataSpec",
                "Generator",
                "Discriminator",
                "FeatureDiscriminator",
                "ClassifierDiscriminator",
                "Loss",
                "Regularizer",
                "Augmentation",
                "Optimizer",
                "Dataset",
                "Recipe",
                "Exporter",
                "ExportReport",
                "Extractor",
                "Importer",
                "Imported",
                "Metric",
                "FeatureMetric",
                "RunMetric",
                "Measured",
                "Interval",
                "Callback",
                "Logger",
                "Pair",
                "Step",
                "Schedule",
                "hookimpl",
            )
            if each in ganforge._MODULES
        ],
    }
    listed = {name for names in groups.values() for name in names}
    functions = sorted((set(ganforge._MODULES) - listed), key=str.lower)
    groups["Errors"] = [name for name in functions if name.endswith("Error")]
    groups["Layers and helpers"] = [name for name in functions if not name.endswith("Error")]
    lines = [
        "# Python names",
        "",
        "Import all names by `from ganforge import ...`. Checks for plugin authors are in `ganforge.testing`.",
        "",
    ]
    for title, names in groups.items():
        lines += [f"## {title}", ""]
        for name in names:
            if re.fullmatch(r"[A-Z_]+", name):
                continue
            lines += write_entry(name, getattr(ganforge, name))
    lines += ["## Checks", "", "Functions of `ganforge.testing`.", ""]
    for name in testing.__all__:
        if callable(getattr(testing, name)):
            lines += write_entry(name, getattr(testing, name))
    return "\n".join(lines).rstrip() + "\n"


PAGES = {"cli.md": write_commands, "hooks.md": write_hooks, "parts.md": write_parts, "api.md": write_api}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")
