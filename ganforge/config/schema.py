"""Configuration of a run, resolved from defaults, recipe, file and command line.

All four have the same form, by section::

    recipe = "dcgan"                 (default: DEFAULT_RECIPE)
    [data]           source = "avatars", resolution = 64, skip_bad = false, sources = PATH, and options of a data set
    [generator]      name = "dcgan", and its options; likewise [discriminator] and [loss]
    [networks]       further networks by name; see `ganforge.config.networks`
    [regularizers]   r1 = { weight = 10, every = 16 }
    [augmentations]  flip = { probability = 0.5 }
    [loggers]        tensorboard = {}
    [callbacks]      early-stop = { patience = 100000 }
    [optimizer]      name = "adam", generator_lr = 0.0002 ...; see `ganforge.config.optimizers`
    [training]       batch = 128 ...
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ganforge.config.data import DataConfig, read_data
from ganforge.config.limits import check_range, read_settings, setting
from ganforge.config.networks import NetworkConfig, read_network
from ganforge.config.optimizers import OptimizerConfig, optimizer_tree, resolve_optimizers
from ganforge.config.sources import LISTS, merge
from ganforge.contract.errors import GanforgeError, OptionError, nearest
from ganforge.contract.parts import Recipe, Situation
from ganforge.contract.schedules import Schedule
from ganforge.core.device import find_accelerator
from ganforge.plugins.kinds import KINDS
from ganforge.plugins.options import coerce
from ganforge.plugins.registry import Registry

CPU_MINUTES = 20.0
"""Default budget on a CPU, in minutes: enough for shapes at 64 pixels on a slow machine."""

GPU_IMAGES = 5_000_000
"""Default budget on a GPU, in images."""

NO_PART = "none"
"""Name of discriminator and loss where ``training.d_steps`` is 0."""

DEFAULT_RECIPE = "rpgan"
"""Default recipe."""


@dataclass(frozen=True)
class TrainingConfig:
    """Training settings; durations in real images shown to the discriminator."""

    batch: int = setting(64, "images per step", least=1)
    d_steps: int = setting(
        1, "discriminator steps per generator step; 0 for an objective without a discriminator", least=0, most=1000
    )
    images: int | None = setting(None, "images to train on", least=1)
    minutes: float | None = setting(None, "minutes to train for", above=0)
    seed: int = setting(0, "random seed", least=0)
    device: Literal["auto", "cpu", "cuda", "mps", "xpu"] = setting("auto", "device; auto is the GPU that torch finds")
    engine: Literal["auto", "eager", "compile", "graph"] = setting(
        "auto", "eager, compiled networks, or CUDA graphs; auto selects the fastest"
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "precision of the networks; weights and penalties stay float32"
    )
    layout: Literal["auto", "contiguous", "channels_last"] = setting("auto", "memory format of feature maps")
    threads: int | None = setting(None, "CPU threads; none: the fastest number", least=1, most=4096)
    accumulate: int = setting(1, "microbatches per batch, to save memory", least=1)
    recompute: bool = setting(False, "activation checkpointing, if the network supports it")
    ema_images: Schedule = setting(
        Schedule.constant(10_000), "half-life of the EMA generator, in images; 0 for no EMA", least=0
    )
    tick_images: int | None = setting(
        None, "images between two sample grids and log rows; none: 1000, later 5 % of all so far", least=1
    )
    samples: int = setting(64, "images in a sample grid", least=1, most=65_536)
    marking: bool = setting(True, "XMP metadata in sample grids: generated, digest of the weights, seeds")
    checkpoint_images: int | None = setting(None, "images between two checkpoints; none: every five minutes", least=1)
    keep_checkpoints: int = setting(2, "number of newest checkpoints to keep", least=1)
    keep_images: int | None = setting(None, "interval in images of checkpoints to keep forever", least=1)
    on_divergence: Literal["rollback", "stop"] = setting(
        "rollback", "when gradients become non-finite: resume a checkpoint with half the learning rates, or stop"
    )
    init_from: str | None = setting(None, "run or file of initial weights")
    freeze: tuple[str, ...] = setting((), "networks and numbers of first layers that stay as they are")
    eval_every: int | None = setting(None, "images between two evaluations of the EMA generator", least=1)
    metrics: tuple[str, ...] = setting(
        (), "fd, kd, fid, kid or a plugin's: metrics of the evaluations; the first selects the best generator"
    )
    eval_dtype: Literal["float32", "bfloat16"] = setting("float32", "precision of the metrics' network")
    eval_samples: int = setting(5000, "generated images per evaluation", least=2, most=1_000_000)
    holdout: float = setting(0.0, "share of the examples held out for evaluation", least=0, below=1)
    labels: int | None = setting(None, "number of labeled examples, balanced over classes; none: all", least=1)

    @property
    def batches(self) -> int:
        """Batches of real examples in a step: one for each discriminator step, at least one."""
        return max(1, self.d_steps)


@dataclass(frozen=True)
class PartConfig:
    """A part and all its options."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class RegularizerConfig:
    """A regularizer, its weight, its interval in steps of its player, and its options."""

    name: str
    weight: Schedule
    every: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class AugmentationConfig:
    """An augmentation, its share of transformed examples, and its options."""

    name: str
    probability: Schedule
    options: Mapping[str, Any]


@dataclass(frozen=True)
class RunConfig:
    """Configuration of a run; the optimizers are by player."""

    recipe: str
    data: DataConfig
    generator: PartConfig
    discriminator: PartConfig
    loss: PartConfig
    networks: tuple[NetworkConfig, ...]
    regularizers: tuple[RegularizerConfig, ...]
    augmentations: tuple[AugmentationConfig, ...]
    loggers: tuple[PartConfig, ...]
    callbacks: tuple[PartConfig, ...]
    optimizer: Mapping[str, OptimizerConfig]
    training: TrainingConfig

    def tree(self) -> dict[str, Any]:
        """Return the configuration by section, JSON-serializable; `resolve` restores it."""
        tree = {
            "recipe": self.recipe,
            **{part: _flat(getattr(self, part)) for part in ("data", "generator", "discriminator", "loss")},
            **{
                section: {each.name: _flat(each, without="name") for each in getattr(self, section)}
                for section in ("regularizers", "augmentations", "loggers", "callbacks")
            },
            **({"networks": {each.key: _flat(each, without="key") for each in self.networks}} if self.networks else {}),
            "optimizer": optimizer_tree(self.optimizer),
            "training": vars(self.training),
        }
        return {section: _plain(value) for section, value in tree.items()}


def _flat(config: Any, without: str = "") -> dict[str, Any]:
    values = {name: value for name, value in vars(config).items() if name not in ("options", without)}
    return {**values, **config.options}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value.plain() if isinstance(value, Schedule) else value


CLASSIFIER_SCORES = {"fd": "fid", "kd": "kid"}
"""Metrics of training that use the features of a classifier of the data, and their statistics."""


def read_score(name: str) -> tuple[str, str]:
    """Return extractor and metric of a name in ``training.metrics``."""
    return ("classifier", CLASSIFIER_SCORES[name]) if name in CLASSIFIER_SCORES else ("inception", name)


def resolve(registry: Registry, *layers: Mapping[str, Any], situations: Collection[Situation] = ()) -> RunConfig:
    """Resolve a configuration from layers over the defaults and the recipe; later layers override earlier ones.

    `situations` select variants of the recipe; that of the device is found here.
    """
    try:
        return _resolve(registry, *layers, situations=situations)
    except OptionError as error:
        name = merge(*layers).get("recipe")
        if isinstance(name, str) and layers != ({"recipe": name},):
            for line in _check_recipe(registry, name):
                if str(error) in line:  # the error is in the recipe
                    raise OptionError(line) from error
        raise


def check_recipes(registry: Registry) -> list[str]:
    """Resolve each recipe alone, and return one line for each invalid recipe."""
    return [line for name in dict.fromkeys(registry.names("recipe")) for line in _check_recipe(registry, name)]


def _check_recipe(registry: Registry, name: str) -> list[str]:
    try:
        part = registry.part("recipe", name)
    except OptionError:
        return []  # unknown or ambiguous; has its own message
    try:
        for situation in part.factory.variants.keys() - set(get_args(Situation)):
            raise OptionError(f"unknown situation '{situation}'", nearest(situation, get_args(Situation)))
        for situations in ((), get_args(Situation)):
            _resolve(registry, {"recipe": name}, situations=situations)
    except GanforgeError as error:
        return [f"recipe '{name}' of plugin '{part.plugin.name}' is invalid: {error}"]
    return []


def _resolve(registry: Registry, *layers: Mapping[str, Any], situations: Collection[Situation] = ()) -> RunConfig:
    recipe_name, tree = merge_recipe(registry, *layers, situations=situations)
    tree = merge({"data": {"source": "avatars"}}, tree)
    training = read_settings(TrainingConfig, tree.get("training", {}), "training")
    _check_scores(registry, training.metrics)
    return RunConfig(
        recipe=recipe_name,
        data=read_data(registry, tree["data"]),
        generator=read_part(registry, tree, "generator"),
        discriminator=_adversary(registry, tree, "discriminator", training),
        loss=_adversary(registry, tree, "loss", training),
        networks=tuple(read_network(registry, *item) for item in tree.get("networks", {}).items()),
        regularizers=tuple(
            RegularizerConfig(
                **_tuned(registry, "regularizer", *item, weight=(Schedule, 0, None), every=(int, 1, None))
            )
            for item in tree.get("regularizers", {}).items()
        ),
        augmentations=tuple(
            AugmentationConfig(**_tuned(registry, "augmentation", *item, probability=(Schedule, 0, 1)))
            for item in tree.get("augmentations", {}).items()
        ),
        loggers=tuple(PartConfig(**_tuned(registry, "logger", *item)) for item in tree.get("loggers", {}).items()),
        callbacks=tuple(
            PartConfig(**_tuned(registry, "callback", *item)) for item in tree.get("callbacks", {}).items()
        ),
        optimizer=resolve_optimizers(registry, tree.get("optimizer", {})),
        training=training,
    )


def _check_scores(registry: Registry, names: Sequence[str]) -> None:
    """Refuse metrics that are not for training."""
    parts = {part.name: part for part in registry.parts() if part.kind == "metric"} if names else {}
    known = [*CLASSIFIER_SCORES, *(name for name, part in parts.items() if getattr(part.factory, "in_training", False))]
    for name in names:
        if name not in known:
            raise OptionError(f"training.metrics: {name!r} is invalid", nearest(name, known))


def merge_recipe(
    registry: Registry, *layers: Mapping[str, Any], situations: Collection[Situation] = ()
) -> tuple[str, dict[str, Any]]:
    """Merge a recipe with layers that override it; return the recipe's name and the merged configuration."""
    given = merge(*layers)
    name = coerce(given.get("recipe", DEFAULT_RECIPE), str, "recipe")
    recipe = registry.part("recipe", name).factory
    if _is_cpu(merge(recipe.settings, given).get("training", {}).get("device", "auto")):
        situations = {*situations, "cpu"}
    variants = [_fit_variant(recipe, given, each) for each in get_args(Situation) if each in situations]
    return name, merge(recipe.settings, *variants, given)


def _fit_variant(recipe: Recipe, given: Mapping[str, Any], situation: Situation) -> Mapping[str, Any]:
    """Return a recipe's settings for a situation, without those of other parts and of lists that are given."""
    own = {section: recipe.settings.get(section, {}).get("name") for section in ("generator", "discriminator", "loss")}
    replaced = {section for section, name in own.items() if given.get(section, {}).get("name", name) != name}
    variant = recipe.variants.get(situation, {})
    return {key: value for key, value in variant.items() if key not in replaced and not (key in LISTS and key in given)}


def _is_cpu(device: Any) -> bool:
    return device == "cpu" or (device == "auto" and find_accelerator() is None)


def _adversary(registry: Registry, tree: Mapping[str, Any], kind: str, training: TrainingConfig) -> PartConfig:
    """Return the discriminator or the loss; `NO_PART` for both without discriminator steps."""
    given = tree.get(kind, {"name": NO_PART}).get("name")
    if training.d_steps == 0 and given != NO_PART:
        raise OptionError(
            f"training.d_steps=0 trains without a discriminator, but {kind}.name is {given}",
            f"set {kind}.name={NO_PART}, or training.d_steps=1",
        )
    return PartConfig(NO_PART, {}) if training.d_steps == 0 else read_part(registry, tree, kind)


def read_part(registry: Registry, tree: Mapping[str, Any], kind: str) -> PartConfig:
    """Return the section of a part; raise `OptionError` if it is missing or invalid."""
    options = dict(tree.get(kind, {}))
    if "name" not in options:
        raise OptionError(f"no {kind} given", f"--{kind} NAME, one of: {', '.join(registry.names(kind))}")
    name = coerce(options.pop("name"), str, f"{kind}.name")
    return PartConfig(name, registry.check(kind, name, options))


def _tuned(
    registry: Registry, kind: str, name: str, settings: Mapping[str, Any], **fields: tuple[Any, float, float | None]
) -> dict[str, Any]:
    """Return arguments of a configuration whose fields have a type, a minimum and a maximum."""
    options, factory = dict(settings), registry.part(kind, name).factory
    values = {}
    for key, (annotation, least, most) in fields.items():
        where = f"{KINDS[kind].plural}.{name}.{key}"
        value = coerce(options.pop(key, getattr(factory, key)), annotation, where)
        values[key] = check_range(where, value, least, most=most)
    return {"name": name, **values, "options": registry.check(kind, name, options)}
