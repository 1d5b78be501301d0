"""The configuration of a run: defaults, then the recipe, then a file, then the command line; saved as resolved.

All four speak the same tree::

    recipe = "dcgan"
    [data]           source = "avatars", resolution = 64, and the data set's own options
    [generator]      name = "dcgan", and its options; likewise [discriminator] and [loss]
    [regularizers]   r1 = { weight = 10, every = 16 }
    [augmentations]  flip = { probability = 0.5 }
    [optimizer]      generator_lr = 0.0002 ...
    [training]       batch = 128 ...
"""

from __future__ import annotations

import json
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ganforge.errors import OptionError, nearest
from ganforge.options import coerce
from ganforge.registry import Registry
from ganforge.schedules import Schedule

CPU_MINUTES = 5.0
"""Budget of a run on a CPU that was given none."""

CUDA_IMAGES = 5_000_000
"""Budget of a run on a GPU that was given none."""


def _setting(
    default: Any, help: str, *, least: float | None = None, above: float | None = None, below: float | None = None
) -> Any:
    return field(default=default, metadata={"help": help, "least": least, "above": above, "below": below})


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam for both players (Kingma and Ba 2015); every number may follow a schedule."""

    generator_lr: Schedule = _setting(Schedule.constant(2e-4), "learning rate of the generator", least=0)
    discriminator_lr: Schedule = _setting(Schedule.constant(2e-4), "learning rate of the discriminator", least=0)
    beta1: Schedule = _setting(Schedule.constant(0.5), "decay of the mean of gradients", least=0, below=1)
    beta2: Schedule = _setting(Schedule.constant(0.999), "decay of the mean of squared gradients", least=0, below=1)


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how much at once, and what is kept; durations in real images shown to the discriminator."""

    batch: int = _setting(64, "examples a step", least=1)
    d_steps: int = _setting(1, "steps of the discriminator for one of the generator", least=1)
    images: int | None = _setting(None, "stop after so many images", least=1)
    minutes: float | None = _setting(None, "stop after so many minutes of training", above=0)
    seed: int = _setting(0, "all random numbers follow from it", least=0)
    device: Literal["auto", "cuda", "cpu"] = _setting("auto", "where to train; auto takes CUDA if there is one")
    ema_images: Schedule = _setting(
        Schedule.constant(10_000), "half-life of the averaged generator, in images; 0 to average nothing", least=0
    )
    tick_images: int | None = _setting(
        None, "images between two grids and log rows; none: 1000, and later a twentieth of all so far", least=1
    )
    samples: int = _setting(64, "images in a grid", least=1)


@dataclass(frozen=True)
class PartConfig:
    """A part and all its options."""

    name: str
    options: Mapping[str, Any]

    def tree(self) -> dict[str, Any]:
        """Its section of the tree."""
        return {"name": self.name, **self.options}


@dataclass(frozen=True)
class RegularizerConfig:
    """A regulariser, its weight, its interval in steps of its player, and its options."""

    name: str
    weight: Schedule
    every: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class AugmentationConfig:
    """An augmentation, the share of examples that it changes, and its options."""

    name: str
    probability: Schedule
    options: Mapping[str, Any]


@dataclass(frozen=True)
class DataConfig:
    """Where examples come from.

    Attributes:
        source: A path, or the name of a registered data set.
        resolution: Pixels along an edge; None to leave it to the data.
        options: Of a registered data set.
    """

    source: str
    resolution: int | None
    options: Mapping[str, Any]


@dataclass(frozen=True)
class RunConfig:
    """All that settles a run."""

    recipe: str
    data: DataConfig
    generator: PartConfig
    discriminator: PartConfig
    loss: PartConfig
    regularizers: tuple[RegularizerConfig, ...]
    augmentations: tuple[AugmentationConfig, ...]
    optimizer: OptimizerConfig
    training: TrainingConfig

    def tree(self) -> dict[str, Any]:
        """The tree that `resolve` makes the same configuration of; fit for JSON."""
        tree = {
            "recipe": self.recipe,
            "data": {"source": self.data.source, "resolution": self.data.resolution, **self.data.options},
            "generator": self.generator.tree(),
            "discriminator": self.discriminator.tree(),
            "loss": self.loss.tree(),
            "regularizers": {
                each.name: {"weight": each.weight, "every": each.every, **each.options} for each in self.regularizers
            },
            "augmentations": {
                each.name: {"probability": each.probability, **each.options} for each in self.augmentations
            },
            "optimizer": vars(self.optimizer),
            "training": vars(self.training),
        }
        return {section: _plain(value) for section, value in tree.items()}


def _plain(value: Any) -> Any:
    """A value with schedules as a user writes them."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value.plain() if isinstance(value, Schedule) else value


SECTIONS = (
    "recipe",
    "data",
    "generator",
    "discriminator",
    "loss",
    "regularizers",
    "augmentations",
    "optimizer",
    "training",
)
_LISTS = ("regularizers", "augmentations")
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


def resolve(registry: Registry, *layers: Mapping[str, Any]) -> RunConfig:
    """Settle a run.

    Args:
        registry: Where names are looked up.
        layers: Trees that go over the defaults and the recipe, later ones on top.

    Raises:
        OptionError: An unknown section, name or option, or a value of the wrong type or range.
    """
    given = merge(*layers)
    recipe_name = coerce(given.get("recipe", "dcgan"), str, "recipe")
    recipe = registry.part("recipe", recipe_name).factory
    tree = merge({"data": {"source": "avatars"}}, recipe.settings, given)
    data = dict(tree["data"])
    return RunConfig(
        recipe=recipe_name,
        data=DataConfig(
            source=coerce(data.pop("source"), str, "data.source"),
            resolution=_check_range(
                "data.resolution", coerce(data.pop("resolution", None), int | None, "data.resolution"), 1
            ),
            options=data,
        ),
        generator=_part(registry, tree, "generator"),
        discriminator=_part(registry, tree, "discriminator"),
        loss=_part(registry, tree, "loss"),
        regularizers=tuple(_regularizer(registry, *item) for item in tree.get("regularizers", {}).items()),
        augmentations=tuple(_augmentation(registry, *item) for item in tree.get("augmentations", {}).items()),
        optimizer=_settings(OptimizerConfig, tree.get("optimizer", {}), "optimizer"),
        training=_settings(TrainingConfig, tree.get("training", {}), "training"),
    )


def _part(registry: Registry, tree: Mapping[str, Any], kind: str) -> PartConfig:
    options = dict(tree.get(kind, {}))
    if "name" not in options:
        raise OptionError(f"no {kind} is named", f"--{kind} NAME, one of: {', '.join(registry.names(kind))}")
    name = coerce(options.pop("name"), str, f"{kind}.name")
    return PartConfig(name, registry.check(kind, name, options))


def _regularizer(registry: Registry, name: str, settings: Mapping[str, Any]) -> RegularizerConfig:
    options = dict(settings)
    factory = registry.part("regularizer", name).factory
    where = f"regularizers.{name}"
    weight = coerce(options.pop("weight", factory.weight), Schedule, f"{where}.weight")
    every = coerce(options.pop("every", factory.every), int, f"{where}.every")
    checked = registry.check("regularizer", name, options)
    return RegularizerConfig(
        name, _check_range(f"{where}.weight", weight, 0), _check_range(f"{where}.every", every, 1), checked
    )


def _augmentation(registry: Registry, name: str, settings: Mapping[str, Any]) -> AugmentationConfig:
    options = dict(settings)
    factory = registry.part("augmentation", name).factory
    where = f"augmentations.{name}.probability"
    probability = coerce(options.pop("probability", factory.probability), Schedule, where)
    checked = registry.check("augmentation", name, options)
    return AugmentationConfig(name, _check_range(where, probability, 0, most=1), checked)


def _settings(kind: type[Any], given: Mapping[str, Any], section: str) -> Any:
    hints = typing.get_type_hints(kind)
    known = {each.name: each for each in fields(kind)}
    values = {}
    for name, value in given.items():
        if name not in known:
            raise OptionError(f"{section} has no setting '{name}'", nearest(name, known))
        limits = {key: limit for key, limit in known[name].metadata.items() if key != "help"}
        values[name] = _check_range(f"{section}.{name}", coerce(value, hints[name], f"{section}.{name}"), **limits)
    return kind(**values)


def _check_range(
    where: str,
    value: Any,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> Any:
    if value is None or isinstance(value, str):
        return value
    for number in (value.start, value.end) if isinstance(value, Schedule) else (value,):
        if least is not None and number < least:
            raise OptionError(f"{where}: {number:g} is too small", f"the least is {least}")
        if above is not None and number <= above:
            raise OptionError(f"{where}: {number:g} is too small", f"it must be above {above}")
        if below is not None and number >= below:
            raise OptionError(f"{where}: {number:g} is too large", f"it must be below {below}")
        if most is not None and number > most:
            raise OptionError(f"{where}: {number:g} is too large", f"the most is {most}")
    return value


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file: TOML, or the ``config.json`` of a run.

    Raises:
        OptionError: No such file, or not of that form.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise OptionError(f"--config {path}: no such file", "give a .toml file or the config.json of a run") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--config {path}: cannot be read: {error}") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
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
    if not equals or len(keys) < 2 or not all(keys):
        raise OptionError(f"--set {text}: is not of the form section.option=value", "such as --set generator.width=96")
    tree: Any = value.strip()
    for each in reversed(keys):
        tree = {each: tree}
    return dict(tree)


def parse_part(text: str, section: str, flag: str) -> dict[str, Any]:
    """``r1:weight=10,every=16`` as a tree.

    Args:
        text: What was given.
        section: ``regularizers`` or ``augmentations``.
        flag: By which it was given.

    Raises:
        OptionError: It has another form.
    """
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
) -> list[dict[str, Any]]:
    """The trees of a file, of flags, of all ``--reg`` and ``--augment``, and of all ``--set``, in that order.

    ``--set`` comes last, so that ``--data mnist --set data.split=test`` means what it says.
    """
    layers = [read_config(file)] if file else []
    layers += [dict(flags or {})]
    layers += [parse_part(each, "regularizers", "--reg") for each in regularizers]
    layers += [parse_part(each, "augmentations", "--augment") for each in augmentations]
    return [*layers, _nest(map(parse_setting, settings))]


def _nest(trees: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One tree of many, which share sections."""
    whole: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            under = whole.get(key)
            whole[key] = _nest([under, value]) if isinstance(value, Mapping) and isinstance(under, Mapping) else value
    return whole
