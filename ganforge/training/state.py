"""Training state: networks, EMA, optimizers, penalties, and the number of images."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.config.optimizers import OptimizerConfig
from ganforge.config.schema import RunConfig
from ganforge.contract.capabilities import Growing
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError, OptionError, PluginError
from ganforge.contract.networks import Discriminator, Generator
from ganforge.contract.parts import Augmentation, Loss, Regularizer
from ganforge.contract.schedules import Schedule
from ganforge.core.seeding import seed_everything
from ganforge.plugins.part_errors import part_errors
from ganforge.plugins.registry import Registry
from ganforge.training.alone import NoDiscriminator, NoLoss
from ganforge.training.ema import update_ema
from ganforge.training.execution.buffers import find_frozen
from ganforge.training.freezing import freeze
from ganforge.training.optimizers import apply_schedule, build_optimizer, load_state, state_tensors
from ganforge.training.players import require_same_shape, validate_networks


@dataclass
class Penalty:
    """Regularizer with its weight and its interval in steps of its player."""

    name: str
    regularizer: Regularizer
    weight: Schedule
    every: int


@dataclass
class AppliedAugmentation:
    """Augmentation with its probability per example."""

    name: str
    augmentation: Augmentation
    probability: Schedule


@dataclass
class TrainingState:
    """Everything that a checkpoint holds.

    Attributes:
        images: Real examples seen by the discriminator.
        seconds: Training time.
        streak: Number of consecutive skipped iterations; a scalar on the device.
        rollbacks: Number of rollbacks after divergence.
        images_were_read: A part read `images` since this was last reset.
        names: Names of the generator, discriminator, loss and optimizers by kind.
        others: Further networks by name.
        averages: EMAs of the generators among them, by name.
        clip: Maximum norm of the gradient of a player, by player.
        notes: Messages about the construction.
        origin: Fields of the card about initial weights, see `derive_origin`.
        trained: Parameters by player, and by prefix of their optimizer's entries in a checkpoint.
        frozen: Keys of `tensors` that never change, without those of the EMA.
        built: Keys of `tensors` at construction, without optimizers.
    """

    generator: Generator
    discriminator: Discriminator
    ema: Generator
    loss: Loss
    penalties: list[Penalty]
    augmentations: list[AppliedAugmentation]
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer | None
    images: int = 0
    seconds: float = 0.0
    streak: Tensor = field(default_factory=lambda: torch.zeros(()))
    rollbacks: int = 0
    images_were_read: bool = False
    names: dict[str, str] = field(default_factory=dict)
    others: dict[str, Generator | Discriminator] = field(default_factory=dict)
    averages: dict[str, Generator] = field(default_factory=dict)
    clip: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)
    trained: dict[str, dict[str, nn.Parameter]] = field(init=False)
    frozen: frozenset[str] = field(init=False)
    built: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.trained = find_trainable(self.generator, self.discriminator, self.loss, self.penalties, self.others)
        modules = self.modules()
        self.built = frozenset(f"{name}/{key}" for name, module in modules.items() for key in module.state_dict())
        self.frozen = frozenset(
            f"{name}/{key}" for name, module in modules.items() if not is_average(name) for key in find_frozen(module)
        )

    @property
    def is_adversarial(self) -> bool:
        """False for an objective without a discriminator."""
        return not isinstance(self.discriminator, NoDiscriminator)

    def count_images(self) -> int:
        """Return `images`, and record that a part read them."""
        self.images_were_read = True
        return self.images

    def count_skipped(self, skipped: Tensor) -> None:
        """Update the streak; the scalar `skipped` is 1 if a player's step was skipped, else 0."""
        self.streak.add_(1).mul_(skipped)

    def networks(self) -> list[Generator | Discriminator]:
        """Return the generator, the discriminator, the EMA, and further networks."""
        return [self.generator, self.discriminator, self.ema, *self.others.values(), *self.averages.values()]

    def update_ema(self, images: int, half_life: float) -> None:
        """Update all EMAs after a step of `images` images; `half_life` is in images, 0 for copies."""
        generators = {"": self.generator, **self.others}
        for name, ema in {"": self.ema, **self.averages}.items():
            update_ema(ema, generators[name], images=images, shown=self.images, half_life=half_life)

    def modules(self) -> dict[str, nn.Module]:
        """Return all modules by name."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.ema,
            **{f"network.{name}": each for name, each in self.others.items()},
            **{f"average.{name}": each for name, each in self.averages.items()},
            "loss": self.loss,
            **{f"regularizer.{penalty.name}": penalty.regularizer for penalty in self.penalties},
            **{f"augmentation.{each.name}": each.augmentation for each in self.augmentations},
        }

    def augment(self, images: Tensor) -> Tensor:
        """Apply each augmentation to examples ``[N, ...]`` with its probability."""
        for each in self.augmentations:
            probability = each.probability.at(self.images)
            if probability > 0:
                with part_errors("augmentation", each.name):
                    changed = each.augmentation(images)
                require_same_shape(f"augmentation '{each.name}'", changed, images)
                if probability < 1:
                    chosen = torch.rand(len(images), *[1] * (images.dim() - 1), device=images.device) < probability
                    changed = torch.where(chosen, changed, images)
                images = changed
        return images

    def apply_schedules(self, configs: Mapping[str, OptimizerConfig]) -> None:
        """Set optimizers and growing networks by the number of images; each rollback halves the learning rates."""
        for name, (optimizer, _) in self.optimizers().items():
            config = configs[name.removesuffix("_optimizer")]
            apply_schedule(optimizer, config, self.images, 0.5**self.rollbacks)
        for network in self.networks():
            if isinstance(network, Growing):
                network.grow(self.images)

    def coarsen(self, real: Tensor) -> Tensor:
        """Reduce real examples ``[N, ...]`` to the detail of a growing generator."""
        return self.generator.coarsen(real) if isinstance(self.generator, Growing) else real

    def optimizer_of(self, player: str) -> torch.optim.Optimizer:
        """Return the optimizer of a player."""
        return self.optimizers()[f"{player}_optimizer"][0]

    def optimizers(self) -> dict[str, tuple[torch.optim.Optimizer, dict[str, nn.Parameter]]]:
        """Return optimizers and their parameters by name."""
        players = {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}
        return {
            f"{player}_optimizer": (optimizer, self.trained[player])
            for player, optimizer in players.items()
            if optimizer is not None
        }

    def name_of(self, kind: str) -> str:
        """Return the name of the generator, discriminator, loss, or of an optimizer such as ``generator_optimizer``."""
        return self.names.get(kind) or type(getattr(self, kind)).__name__

    def match_memory_format(self) -> None:
        """Convert optimizer state to the memory format of its parameters, for fused steps."""
        for optimizer, parameters in self.optimizers().values():
            for parameter in parameters.values():
                kept = optimizer.state[parameter]
                for entry, value in kept.items():
                    if value.shape == parameter.shape:
                        kept[entry] = torch.empty_like(parameter).copy_(value)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, e.g. ``generator/...`` and ``generator_optimizer/...``."""
        tensors = {
            f"{name}/{key}": value
            for name, module in self.modules().items()
            for key, value in module.state_dict().items()
        }
        for kind, (optimizer, parameters) in self.optimizers().items():
            for name, parameter in parameters.items():
                for entry, value in state_tensors(self.name_of(kind), optimizer, parameter).items():
                    tensors[f"{name}/{entry}"] = value
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load the result of `tensors`; raise `CheckpointError` if it does not fit the networks."""
        for name, module in self.modules().items():
            try:
                module.load_state_dict(select(tensors, name))
            except RuntimeError as error:
                text = " ".join(str(error).split())
                raise CheckpointError(f"the checkpoint does not fit the run's {name}: {text}") from error
        for optimizer, parameters in self.optimizers().values():
            for name, parameter in parameters.items():
                load_state(optimizer, parameter, select(tensors, name))


def is_average(name: str) -> bool:
    """Return whether a module's name is that of an EMA."""
    return name.partition(".")[0] == "average"


def select(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors below ``prefix/``, without the prefix."""
    return {name.removeprefix(f"{prefix}/"): each for name, each in tensors.items() if name.startswith(f"{prefix}/")}


def build_state(config: RunConfig, registry: Registry, data: DataSpec, device: torch.device) -> TrainingState:
    """Construct the initial state of a run.

    Raises:
        OptionError: Invalid option, or a part that does not fit the data.
        PluginError: A plugin's part cannot be constructed.
    """
    seed_everything(config.training.seed, "networks")
    generator = registry.build("generator", config.generator.name, config.generator.options, data).to(device)
    discriminator: Discriminator = NoDiscriminator()
    if config.training.d_steps:
        part = config.discriminator
        discriminator = registry.build("discriminator", part.name, part.options, data).to(device)
    others = {
        each.key: registry.build(each.player, each.name, each.options, each.spec(data)).to(device)
        for each in config.networks
    }
    validate_networks(generator, discriminator, others, config, data, device)
    networks: dict[str, tuple[Generator | Discriminator, DataSpec]] = {"generator": (generator, data)}
    networks |= {"discriminator": (discriminator, data)} if config.training.d_steps else {}
    networks |= {each.key: (others[each.key], each.spec(data)) for each in config.networks}
    notes = freeze(config.training.freeze, networks, config.training.batch, config.training.labels, device)
    if config.augmentations and data.source_shape:
        raise OptionError(
            f"augmentation '{config.augmentations[0].name}' does not support paired data: it changes one image",
            "omit augmentations, or apply them in the data set",
        )
    loss: Loss = NoLoss()
    if config.training.d_steps:
        loss = registry.build("loss", config.loss.name, config.loss.options).to(device)
    penalties = [
        Penalty(
            each.name, registry.build("regularizer", each.name, each.options, data).to(device), each.weight, each.every
        )
        for each in config.regularizers
    ]
    augmentations = [
        AppliedAugmentation(
            each.name, registry.build("augmentation", each.name, each.options, data).to(device), each.probability
        )
        for each in config.augmentations
    ]
    for each in augmentations:
        if any(tensor.requires_grad for tensor in each.augmentation.parameters()):
            raise PluginError(
                f"augmentation '{each.name}' has trainable parameters, but no player trains them",
                "use buffers, or requires_grad_(False)",
            )
    trained = find_trainable(generator, discriminator, loss, penalties, others)
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        ema=copy.deepcopy(generator).requires_grad_(False),
        loss=loss,
        penalties=penalties,
        augmentations=augmentations,
        # Learning rates and betas are set before each step.
        generator_optimizer=build_optimizer(config.optimizer["generator"], trained["generator"].values(), device),
        discriminator_optimizer=build_optimizer(
            config.optimizer["discriminator"], trained["discriminator"].values(), device
        )
        if config.training.d_steps
        else None,
        streak=torch.zeros((), device=device),
        names={kind: getattr(config, kind).name for kind in ("generator", "discriminator", "loss")}
        | {f"{player}_optimizer": each.name for player, each in config.optimizer.items()},
        clip={player: each.clip for player, each in config.optimizer.items() if each.clip is not None},
        notes=notes,
        others=others,
        averages={
            name: copy.deepcopy(each).requires_grad_(False)
            for name, each in others.items()
            if isinstance(each, Generator)
        },
    )


def find_trainable(
    generator: Generator,
    discriminator: Discriminator,
    loss: Loss,
    penalties: Sequence[Penalty],
    others: Mapping[str, nn.Module],
) -> dict[str, dict[str, nn.Parameter]]:
    """Return the trainable parameters of each player by their checkpoint prefix, ``generator_optimizer/NAME``.

    Parameters of the loss and of regularizers are trained with the discriminator. Those of a regularizer that
    implements only `Regularizer.generator` are trained with the generator.
    """
    owners: dict[str, dict[str, nn.Module]] = {
        "generator": {"generator": generator},
        "discriminator": {"discriminator": discriminator, "loss": loss},
    }
    for name, network in others.items():
        owners["generator" if isinstance(network, Generator) else "discriminator"][f"network.{name}"] = network
    for each in penalties:
        kind = type(each.regularizer)
        helps = kind.generator is not Regularizer.generator and kind.discriminator is Regularizer.discriminator
        owners["generator" if helps else "discriminator"][f"regularizer.{each.name}"] = each.regularizer
    return {
        player: {
            f"{owner}_optimizer/{key}": parameter
            for owner, module in modules.items()
            for key, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        for player, modules in owners.items()
    }
