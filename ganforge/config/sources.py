"""What a user asks for, as trees of sections and options: from a file and from the command line, laid over one another.

The form of a tree is told in `ganforge.config.schema`, which makes a configuration of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec

from ganforge.contract.errors import OptionError, nearest
from ganforge.core.atomic_files import read_text
from ganforge.core.json_schema import Size, parse_json, parse_toml

SECTIONS = (
    "recipe",
    "data",
    "generator",
    "discriminator",
    "loss",
    "regularizers",
    "augmentations",
    "loggers",
    "optimizer",
    "training",
)


class _Data(TypedDict, total=False):
    source: str


class _Part(TypedDict, total=False):
    name: str


class _Training(TypedDict, total=False):
    images: Size | None
    minutes: Annotated[float, msgspec.Meta(gt=0)] | None


class ConfigTree(TypedDict, total=False):
    """A resolved configuration as ``config.json`` holds it; options of parts are checked where parts are built."""

    recipe: str
    data: _Data
    generator: _Part
    discriminator: _Part
    loss: _Part
    regularizers: dict[str, dict[str, Any]]
    augmentations: dict[str, dict[str, Any]]
    loggers: dict[str, dict[str, Any]]
    optimizer: dict[str, Any]
    training: _Training


_LISTS = ("regularizers", "augmentations", "loggers")
_CHOICE = {"data": "source", "generator": "name", "discriminator": "name", "loss": "name"}
_BUDGET = {"images", "minutes"}


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay trees over one another, later ones on top.

    Where a later tree names another part, options of the earlier one are dropped with it; where it sets a budget, the
    earlier budget is.

    Raises:
        OptionError: A section that does not exist or is no table.
    """
    tree: dict[str, Any] = {}
    for layer in layers:
        for section, value in layer.items():
            if section not in SECTIONS:
                raise OptionError(f"unknown section '{section}' in the configuration", nearest(section, SECTIONS))
            if section == "recipe":
                tree[section] = value
                continue
            if not isinstance(value, Mapping):
                raise OptionError(f"section '{section}' of the configuration must be a table, not {value!r}")
            under = tree.get(section, {})
            if section in _LISTS:
                for name, settings in value.items():
                    if not isinstance(settings, Mapping):
                        raise OptionError(
                            f"{section}.{name} must be a table, not {settings!r}", "such as r1 = { weight = 10 }"
                        )
                    under = {**under, name: {**under.get(name, {}), **settings}}
            elif (choice := _CHOICE.get(section)) and value.get(choice, under.get(choice)) != under.get(choice):
                under = dict(value)
            else:
                if section == "training" and value.keys() & _BUDGET:
                    under = {key: each for key, each in under.items() if key not in _BUDGET}
                under = {**under, **value}
            tree[section] = under
    return tree


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file: TOML, or the ``config.json`` of a run.

    Raises:
        OptionError: No such file, or not of that form.
    """
    try:
        text = read_text(path)
        tree = parse_json(text) if path.suffix == ".json" else parse_toml(text)
    except FileNotFoundError:
        raise OptionError(f"--config {path}: no such file", "give a .toml file or the config.json of a run") from None
    except OSError as error:
        raise OptionError(f"--config {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise OptionError(f"--config {path}: cannot be read: {error}") from None
    except ValueError as error:
        form = "JSON" if path.suffix == ".json" else "TOML"
        raise OptionError(f"--config {path}: is not {form}: {error}", "mend the line, or leave the flag out") from None
    if not isinstance(tree, dict):
        raise OptionError(f"--config {path}: holds no table", f"its sections are {', '.join(SECTIONS)}")
    return tree


def parse_setting(text: str) -> dict[str, Any]:
    """``generator.width=96`` as a tree.

    Raises:
        OptionError: It has another form.
    """
    key, equals, value = text.partition("=")
    keys = key.strip().split(".")
    if not equals or not 2 <= len(keys) <= 3 or not all(keys):
        raise OptionError(f"--set {text}: is not of the form section.option=value", "such as --set generator.width=96")
    return _branch(keys, value.strip())


def parse_part(text: str, section: str, flag: str) -> dict[str, Any]:
    """``r1:weight=10,every=16`` as a tree.

    Args:
        text: What was given.
        section: ``regularizers``, ``augmentations`` or ``loggers``.
        flag: By which it was given.

    Raises:
        OptionError: It has another form.
    """
    if not isinstance(text, str):
        raise OptionError(
            f"{flag}: {text!r} is not text", f"such as {flag} r1:weight=10; a part of your own goes into a plugin"
        )
    name, _, rest = text.partition(":")
    settings = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise OptionError(
                f"{flag} {text}: '{item}' is not of the form option=value", f"such as {flag} NAME:option=value"
            )
        settings[key.strip()] = value.strip()
    return {section: {name.strip(): settings}}


def load_layers(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    regularizers: Sequence[str] = (),
    settings: Sequence[str] = (),
    augmentations: Sequence[str] = (),
    loggers: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The trees of a file, of flags, of ``--reg``, ``--augment``, ``--log`` and ``--set``, in that order.

    ``--set`` comes last, so that ``--data mnist --set data.split=test`` means what it says.
    """
    layers = [read_config(file)] if file else []
    layers += [dict(flags or {})]
    layers += [parse_part(each, "regularizers", "--reg") for each in regularizers]
    layers += [parse_part(each, "augmentations", "--augment") for each in augmentations]
    layers += [parse_part(each, "loggers", "--log") for each in loggers]
    return [*layers, _join(map(parse_setting, settings))]


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by their path, such as ``generator.width``, as a tree."""
    return _join(_branch(key.split("."), value) for key, value in values.items())


def _branch(keys: Sequence[str], value: Any) -> dict[str, Any]:
    tree = value
    for each in reversed(keys):
        tree = {each: tree}
    return dict(tree)


def _join(trees: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One tree of many, which share sections."""
    whole: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            under = whole.get(key)
            whole[key] = _join([under, value]) if isinstance(value, Mapping) and isinstance(under, Mapping) else value
    return whole
