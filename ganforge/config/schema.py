"""The configuration of a run: defaults, then the recipe, then a file, then the command line; saved as resolved.

All four speak the same tree::

    recipe = "dcgan"                 (DEFAULT_RECIPE where it is left out)
    [data]           source = "avatars", resolution = 64, skip_bad = false, and the data set's own options
    [generator]      name = "dcgan", and its options; likewise [discriminator] and [loss]
    [regularizers]   r1 = { weight = 10, every = 16 }
    [augmentations]  flip = { probability = 0.5 }
    [loggers]        tensorboard = {}
    [optimizer]      generator_lr = 0.0002 ...
    [training]       batch = 128 ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ganforge.config.limits import check_range, read_settings, setting
from ganforge.config.sources import merge
from ganforge.contract.errors import GanforgeError, OptionError
from ganforge.contract.schedules import Schedule
from ganforge.plugins.options import coerce
from ganforge.plugins.registry import Registry

CPU_MINUTES = 5.0
"""Budget of a run on a CPU that was given none."""

MOST_PIXELS = 16_384
"""Along an edge of an image; a single one takes 3 GB in float32 then."""

CUDA_IMAGES = 5_000_000
"""Budget of a run on a GPU that was given none."""

DEFAULT_RECIPE = "rpgan"
"""Recipe of a run that names none."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam for both players (Kingma and Ba 2015); every number may follow a schedule."""

    generator_lr: Schedule = setting(Schedule.constant(2e-4), "learning rate of the generator", least=0)
    discriminator_lr: Schedule = setting(Schedule.constant(2e-4), "learning rate of the discriminator", least=0)
    beta1: Schedule = setting(Schedule.constant(0.5), "decay of the mean of gradients", least=0, below=1)
    beta2: Schedule = setting(Schedule.constant(0.999), "decay of the mean of squared gradients", least=0, below=1)


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how much at once, and what is kept; durations in real images shown to the discriminator."""

    batch: int = setting(64, "examples a step", least=1)
    d_steps: int = setting(1, "steps of the discriminator for one of the generator", least=1)
    images: int | None = setting(None, "stop after so many images", least=1)
    minutes: float | None = setting(None, "stop after so many minutes of training", above=0)
    seed: int = setting(0, "all random numbers follow from it", least=0)
    device: Literal["auto", "cuda", "cpu"] = setting("auto", "where to train; auto takes CUDA if there is one")
    engine: Literal["auto", "eager", "compile", "graph"] = setting(
        "auto", "operation by operation, compiled networks, or CUDA graphs; auto measures which is quickest"
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "numbers in which networks run; weights and penalties are float32 always"
    )
    layout: Literal["auto", "contiguous", "channels_last"] = setting("auto", "of feature maps in memory")
    threads: int | None = setting(None, "of the CPU; none: as many as are quickest", least=1, most=4096)
    accumulate: int = setting(1, "compute a batch in so many parts, which takes less memory", least=1)
    recompute: bool = setting(False, "compute feature maps twice instead of keeping them, where a network allows it")
    ema_images: Schedule = setting(
        Schedule.constant(10_000), "half-life of the averaged generator, in images; 0 to average nothing", least=0
    )
    tick_images: int | None = setting(
        None, "images between two grids and log rows; none: 1000, and later a twentieth of all so far", least=1
    )
    samples: int = setting(64, "images in a grid", least=1, most=65_536)
    checkpoint_images: int | None = setting(
        None, "images between two checkpoints; none: five minutes of training", least=1
    )
    keep_checkpoints: int = setting(2, "newest checkpoints that are kept", least=1)
    keep_images: int | None = setting(
        None, "keep, besides, the first checkpoint of each so many images for good", least=1
    )
    on_divergence: Literal["rollback", "stop"] = setting(
        "rollback", "when gradients are finite no more: go back to a checkpoint with half the learning rates, or stop"
    )
    init_from: str | None = setting(None, "a run or a file of weights to begin with, instead of with random ones")
    eval_every: int | None = setting(None, "images between two scores of the averaged generator", least=1)
    metrics: tuple[Literal["fd", "kd", "fid", "kid"], ...] = setting(
        (), "what it is scored by; the first says which is the best"
    )
    eval_dtype: Literal["float32", "bfloat16"] = setting(
        "float32", "numbers of a score's network; fewer are for curves"
    )
    eval_samples: int = setting(5000, "images generated for a score", least=2)
    holdout: float = setting(0.0, "share of the examples that is never shown, for evaluation", least=0, below=1)
    labels: int | None = setting(
        None, "use the labels of only so many examples, as many of each class; none: of all", least=1
    )


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
        skip_bad: Leave out examples that cannot be read, if they are few.
        options: Of a registered data set.
    """

    source: str
    resolution: int | None
    skip_bad: bool
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
    loggers: tuple[PartConfig, ...]
    optimizer: OptimizerConfig
    training: TrainingConfig

    def tree(self) -> dict[str, Any]:
        """The tree that `resolve` makes the same configuration of; fit for JSON."""
        tree = {
            "recipe": self.recipe,
            "data": {
                "source": self.data.source,
                "resolution": self.data.resolution,
                "skip_bad": self.data.skip_bad,
                **self.data.options,
            },
            "generator": self.generator.tree(),
            "discriminator": self.discriminator.tree(),
            "loss": self.loss.tree(),
            "regularizers": {
                each.name: {"weight": each.weight, "every": each.every, **each.options} for each in self.regularizers
            },
            "augmentations": {
                each.name: {"probability": each.probability, **each.options} for each in self.augmentations
            },
            "loggers": {each.name: dict(each.options) for each in self.loggers},
            "optimizer": vars(self.optimizer),
            "training": vars(self.training),
        }
        return {section: _plain(value) for section, value in tree.items()}


def _plain(value: Any) -> Any:
    """A value with schedules as a user writes them."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value.plain() if isinstance(value, Schedule) else value


def resolve(registry: Registry, *layers: Mapping[str, Any]) -> RunConfig:
    """Settle a run.

    Args:
        registry: Where names are looked up.
        layers: Trees that go over the defaults and the recipe, later ones on top.

    Raises:
        OptionError: An unknown section, name or option, or a value of the wrong type or range.
    """
    try:
        return _resolve(registry, *layers)
    except OptionError as error:
        name = merge(*layers).get("recipe")
        if isinstance(name, str) and layers != ({"recipe": name},):
            for line in _check_recipe(registry, name):
                if str(error) in line:  # it is the recipe's, whatever else was asked for
                    raise OptionError(line) from error
        raise


def check_recipes(registry: Registry) -> list[str]:
    """Resolve each recipe by itself.

    Returns:
        One line for each that names an unknown part or option, or an invalid value: recipe, plugin and what is wrong.
    """
    return [line for name in dict.fromkeys(registry.names("recipe")) for line in _check_recipe(registry, name)]


def _check_recipe(registry: Registry, name: str) -> list[str]:
    try:
        part = registry.part("recipe", name)
    except OptionError:
        return []  # unknown or offered twice, which has its own message
    try:
        _resolve(registry, {"recipe": name})
    except GanforgeError as error:
        return [f"recipe '{name}' of plugin '{part.plugin.name}' is invalid: {error}"]
    return []


def _resolve(registry: Registry, *layers: Mapping[str, Any]) -> RunConfig:
    recipe_name, tree = lay_over_recipe(registry, *layers)
    tree = merge({"data": {"source": "avatars"}}, tree)
    return RunConfig(
        recipe=recipe_name,
        data=_data(registry, tree["data"]),
        generator=_part(registry, tree, "generator"),
        discriminator=_part(registry, tree, "discriminator"),
        loss=_part(registry, tree, "loss"),
        regularizers=tuple(_regularizer(registry, *item) for item in tree.get("regularizers", {}).items()),
        augmentations=tuple(_augmentation(registry, *item) for item in tree.get("augmentations", {}).items()),
        loggers=tuple(
            PartConfig(name, registry.check("logger", name, options))
            for name, options in tree.get("loggers", {}).items()
        ),
        optimizer=read_settings(OptimizerConfig, tree.get("optimizer", {}), "optimizer"),
        training=read_settings(TrainingConfig, tree.get("training", {}), "training"),
    )


def lay_over_recipe(registry: Registry, *layers: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Merge the settings of a recipe with the trees that go over them.

    Args:
        registry: Where the recipe is looked up.
        layers: As of `resolve`; without a ``recipe`` in them, it is `DEFAULT_RECIPE`.

    Returns:
        Name of the recipe, and the merged tree.

    Raises:
        OptionError: See `resolve`.
    """
    given = merge(*layers)
    name = coerce(given.get("recipe", DEFAULT_RECIPE), str, "recipe")
    recipe = registry.part("recipe", name).factory
    tree = merge(recipe.settings, given)
    if recipe.training_on_cpu and _is_cpu(tree.get("training", {}).get("device", "auto")):
        tree = merge(recipe.settings, {"training": recipe.training_on_cpu}, given)
    return name, tree


def _is_cpu(device: Any) -> bool:
    """Whether a run with this ``training.device`` trains on the CPU."""
    import torch

    return device == "cpu" or (device == "auto" and not torch.cuda.is_available())


def _data(registry: Registry, settings: Mapping[str, Any]) -> DataConfig:
    options = dict(settings)
    source = coerce(options.pop("source"), str, "data.source")
    resolution = coerce(options.pop("resolution", None), int | None, "data.resolution")
    skip_bad = coerce(options.pop("skip_bad", False), bool, "data.skip_bad")
    if source in registry.names("dataset"):  # options of a path are refused where the path is opened
        checked = registry.check("dataset", source, options)
        options = {name: value for name, value in checked.items() if name not in ("source", "resolution", "skip_bad")}
    return DataConfig(source, check_range("data.resolution", resolution, 1, most=MOST_PIXELS), skip_bad, options)


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
        name, check_range(f"{where}.weight", weight, 0), check_range(f"{where}.every", every, 1), checked
    )


def _augmentation(registry: Registry, name: str, settings: Mapping[str, Any]) -> AugmentationConfig:
    options = dict(settings)
    factory = registry.part("augmentation", name).factory
    where = f"augmentations.{name}.probability"
    probability = coerce(options.pop("probability", factory.probability), Schedule, where)
    checked = registry.check("augmentation", name, options)
    return AugmentationConfig(name, check_range(where, probability, 0, most=1), checked)
