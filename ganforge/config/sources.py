"""Sources of a configuration: files and flags, merged by section; `ganforge.config.schema` has the form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec

from ganforge.contract.errors import OptionError, nearest
from ganforge.core.atomic_files import read_text
from ganforge.core.json_schema import PositiveInt, parse_json, parse_toml


class _Data(TypedDict, total=False):
    source: str


class _Part(TypedDict, total=False):
    name: str


class _Training(TypedDict, total=False):
    images: PositiveInt | None
    minutes: Annotated[float, msgspec.Meta(gt=0)] | None


class ConfigTree(TypedDict, total=False):
    """A resolved configuration in ``config.json``; options of parts are validated where parts are created."""

    recipe: str
    data: _Data
    generator: _Part
    discriminator: _Part
    loss: _Part
    networks: dict[str, dict[str, Any]]
    regularizers: dict[str, dict[str, Any]]
    augmentations: dict[str, dict[str, Any]]
    loggers: dict[str, dict[str, Any]]
    callbacks: dict[str, dict[str, Any]]
    optimizer: dict[str, Any]
    training: _Training


CONFIG_KEYS = {
    "--arch": "recipe",
    "--data": "data.source",
    "--resolution": "data.resolution",
    "--skip-bad": "data.skip_bad",
    "--generator": "generator.name",
    "--discriminator": "discriminator.name",
    "--loss": "loss.name",
    "--images": "training.images",
    "--minutes": "training.minutes",
    "--batch": "training.batch",
    "--d-steps": "training.d_steps",
    "--seed": "training.seed",
    "--device": "training.device",
    "--engine": "training.engine",
    "--precision": "training.precision",
    "--accumulate": "training.accumulate",
    "--eval-every": "training.eval_every",
    "--metrics": "training.metrics",
    "--on-divergence": "training.on_divergence",
    "--init-from": "training.init_from",
    "--freeze": "training.freeze",
    "--no-marking": "training.marking",
}
"""Configuration keys that flags of ``train``, ``init`` and ``bench`` set."""

SWITCHES = ("--skip-bad", "--no-marking")
"""Those that take no value."""

SECTIONS = tuple(ConfigTree.__annotations__)
LISTS = ("networks", "regularizers", "augmentations", "loggers", "callbacks")
"""Sections with a table for each part."""

_CHOICE = {"data": "source", "generator": "name", "discriminator": "name", "loss": "name"}
_BUDGET = {"images", "minutes"}


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge configurations; later ones override earlier ones.

    Another part in a section resets the options of the earlier part; another budget resets the earlier budget.
    """
    tree: dict[str, Any] = {}
    for layer in layers:
        for section, value in layer.items():
            if section not in SECTIONS:
                near = nearest(section, SECTIONS)
                raise OptionError(f"unknown section '{section}' in the configuration", _suggest(section, near))
            if section == "recipe":
                tree[section] = value
                continue
            if not isinstance(value, Mapping):
                raise OptionError(f"section '{section}' of the configuration must be a table, not {value!r}")
            under = tree.get(section, {})
            if section in LISTS:
                for name, settings in value.items():
                    if not isinstance(settings, Mapping):
                        raise OptionError(
                            f"{section}.{name} must be a table, not {settings!r}", "such as r1 = { weight = 10 }"
                        )
                    under = {**under, name: {**under.get(name, {}), **settings}}
            elif section == "optimizer":
                under = _merge_optimizer(under, value)
            elif (choice := _CHOICE.get(section)) and value.get(choice, under.get(choice)) != under.get(choice):
                under = dict(value)
            else:
                if section == "training" and value.keys() & _BUDGET:
                    under = {key: each for key, each in under.items() if key not in _BUDGET}
                under = {**under, **value}
            tree[section] = under
    return tree


def _merge_optimizer(under: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """Merge an optimizer or the table of a player; another name resets options, but not rates, warm-up and clipping."""
    if value.get("name", name := under.get("name", "adam")) != name:
        under = {key: each for key, each in under.items() if key in ("warmup", "clip") or key.endswith("_lr")}
    merged = {**under, **value}
    for key, old in under.items():
        if isinstance(old, Mapping) and isinstance(value.get(key), Mapping):
            merged[key] = _merge_optimizer(old, value[key])
    return merged


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file: TOML, or a run's ``config.json``."""
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
        raise OptionError(f"--config {path}: invalid {form}: {error}", "correct the line, or omit the flag") from None
    if not isinstance(tree, dict):
        raise OptionError(f"--config {path}: not a table", f"its sections are {', '.join(SECTIONS)}")
    return tree


def _suggest(option: str, otherwise: str) -> str:
    """Return the path of an option that was given without its section, as a hint."""
    return next((f"did you mean '{each}'?" for each in CONFIG_KEYS.values() if each.endswith(f".{option}")), otherwise)


def parse_setting(text: str) -> dict[str, Any]:
    """Parse ``generator.width=96``."""
    key, equals, value = text.partition("=")
    keys = key.strip().split(".")
    if not equals or not 2 <= len(keys) <= 3 or not all(keys):
        hint = _suggest(key.strip(), "such as --set generator.width=96")
        raise OptionError(f"--set {text}: is not of the form section.option=value", hint)
    return _branch(keys, value.strip())


def parse_part(text: str, section: str, flag: str) -> dict[str, Any]:
    """Parse ``r1:weight=10,every=16`` of a flag into a section."""
    if not isinstance(text, str):
        raise OptionError(
            f"{flag}: {text!r} is not text", f"such as {flag} NAME:option=value; put your own part into a plugin"
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
    callbacks: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return configurations of a file, flags, parts such as ``--reg``, and ``--set``.

    ``--set`` comes last, so that ``--data mnist --set data.split=test`` sets an option of mnist.
    """
    layers = [read_config(file)] if file else []
    layers += [dict(flags or {})]
    for texts, section, flag in (
        (regularizers, "regularizers", "--reg"),
        (augmentations, "augmentations", "--augment"),
        (loggers, "loggers", "--log"),
        (callbacks, "callbacks", "--callback"),
    ):
        if isinstance(texts, str):
            raise OptionError(f"{flag}: {texts!r} is one text, not a list", f"{flag.strip('-')}=[{texts!r}]")
        layers += [parse_part(each, section, flag) for each in texts]
    return [*layers, _join(map(parse_setting, settings))]


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values by path, such as ``generator.width``, to a configuration."""
    return _join(_branch(key.split("."), value) for key, value in values.items())


def _branch(keys: Sequence[str], value: Any) -> dict[str, Any]:
    tree = value
    for each in reversed(keys):
        tree = {each: tree}
    return dict(tree)


def _join(trees: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge nested mappings."""
    whole: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            under = whole.get(key)
            whole[key] = _join([under, value]) if isinstance(value, Mapping) and isinstance(under, Mapping) else value
    return whole
