"""All that changes while a run trains: networks, their average, optimisers, penalties, and the count of images."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganforge.config.schema import OptimizerConfig, RunConfig
from ganforge.contract.capabilities import Growing
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError, OptionError, PluginError
from ganforge.contract.networks import Discriminator, Generator
from ganforge.contract.parts import Augmentation, Loss, Regularizer
from ganforge.contract.schedules import Schedule
from ganforge.core.seeding import seed_everything
from ganforge.plugins.part_errors import part_errors
from ganforge.plugins.registry import Registry
from ganforge.training.execution.buffers import find_frozen
from ganforge.training.players import check_players, require_alike


@dataclass
class Penalty:
    """A regulariser with its weight and its interval in steps of its player."""

    name: str
    regularizer: Regularizer
    weight: Schedule
    every: int


@dataclass
class AppliedAugmentation:
    """An augmentation with the share of examples that it changes."""

    name: str
    augmentation: Augmentation
    probability: Schedule


@dataclass
class TrainingState:
    """The players and everything else that a checkpoint must hold.

    Attributes:
        images: Real examples shown to the discriminator so far.
        seconds: Time spent in training so far.
        streak: For how many iterations on end a player's step had to be skipped; a scalar on the device.
        rollbacks: How often the run went back to an earlier checkpoint since its steps had to be skipped.
        was_counted: Whether a part asked for `images` since this was last set to False.
        names: Names of the parts by kind: generator, discriminator and loss.
        trained: Parameters that each player's optimizer steps, by the prefix of their entries in a checkpoint.
        frozen: Names of the tensors that never change, as in `tensors`; those of the average are left out.
        built: Names of all tensors of modules when they were built, as in `tensors`.
    """

    generator: Generator
    discriminator: Discriminator
    average: Generator
    loss: Loss
    penalties: list[Penalty]
    changes: list[AppliedAugmentation]
    generator_optimizer: Adam
    discriminator_optimizer: Adam
    images: int = 0
    seconds: float = 0.0
    streak: Tensor = field(default_factory=lambda: torch.zeros(()))
    rollbacks: int = 0
    was_counted: bool = False
    names: dict[str, str] = field(default_factory=dict)
    trained: dict[str, dict[str, nn.Parameter]] = field(init=False)
    frozen: frozenset[str] = field(init=False)
    built: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.trained = find_trained(self.generator, self.discriminator, self.loss, self.penalties)
        modules = self.modules()
        self.built = frozenset(f"{name}/{key}" for name, module in modules.items() for key in module.state_dict())
        self.frozen = frozenset(
            f"{name}/{key}" for name, module in modules.items() if name != "average" for key in find_frozen(module)
        )

    def count_images(self) -> int:
        """`images`, for a part that asks for them; takes note that one did."""
        self.was_counted = True
        return self.images

    def take_note(self, skipped: Tensor) -> None:
        """Count an iteration: `skipped`, a scalar, is 1 if a player's step had to be skipped, else 0."""
        self.streak.add_(1).mul_(skipped)

    def networks(self) -> tuple[Generator, Discriminator, Generator]:
        """The players and the generator's average."""
        return self.generator, self.discriminator, self.average

    def modules(self) -> dict[str, nn.Module]:
        """Everything with tensors of its own, by name."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "loss": self.loss,
            **{f"regularizer.{penalty.name}": penalty.regularizer for penalty in self.penalties},
            **{f"augmentation.{change.name}": change.augmentation for change in self.changes},
        }

    def augment(self, images: Tensor) -> Tensor:
        """Change examples ``[N, ...]``, each by each augmentation with its probability."""
        for change in self.changes:
            probability = change.probability.at(self.images)
            if probability > 0:
                with part_errors("augmentation", change.name):
                    changed = change.augmentation(images)
                require_alike(f"augmentation '{change.name}'", changed, images)
                if probability < 1:
                    chosen = torch.rand(len(images), *[1] * (images.dim() - 1), device=images.device) < probability
                    changed = torch.where(chosen, changed, images)
                images = changed
        return images

    def follow_schedules(self, config: OptimizerConfig) -> None:
        """Set the optimisers, and networks that grow, to what is due after the images so far.

        Each time that the run had to go back, learning rates were halved.
        """
        rates = {"generator_optimizer": config.generator_lr, "discriminator_optimizer": config.discriminator_lr}
        betas = (config.beta1.at(self.images), config.beta2.at(self.images))
        for name, (optimizer, _) in self.optimizers().items():
            for group in optimizer.param_groups:
                group["betas"] = betas
                rate = rates[name].at(self.images) * 0.5**self.rollbacks
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
        for network in self.networks():
            if isinstance(network, Growing):
                network.grow(self.images)

    def coarsen(self, real: Tensor) -> Tensor:
        """Real examples ``[N, ...]``, as they are or in the detail to which the generator has grown."""
        return self.generator.coarsen(real) if isinstance(self.generator, Growing) else real

    def optimizers(self) -> dict[str, tuple[Adam, dict[str, nn.Parameter]]]:
        """The optimizers by name, with the parameters that they step."""
        return {
            "generator_optimizer": (self.generator_optimizer, self.trained["generator"]),
            "discriminator_optimizer": (self.discriminator_optimizer, self.trained["discriminator"]),
        }

    def name_of(self, kind: str) -> str:
        """The name of the generator, the discriminator or the loss."""
        return self.names.get(kind) or type(getattr(self, kind)).__name__

    def match_layouts(self) -> None:
        """Lay what optimisers keep of each weight out in memory as the weight is: they step through both at once."""
        for optimizer, parameters in self.optimizers().values():
            for parameter in parameters.values():
                kept = optimizer.state[parameter]
                for entry, value in kept.items():
                    if value.shape == parameter.shape:
                        kept[entry] = torch.empty_like(parameter).copy_(value)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor under a name that does not depend on order: ``generator/...``, ``generator_optimizer/...``."""
        tensors = {
            f"{name}/{key}": value
            for name, module in self.modules().items()
            for key, value in module.state_dict().items()
        }
        for optimizer, parameters in self.optimizers().values():
            for name, parameter in parameters.items():
                for entry, value in optimizer.state[parameter].items():
                    tensors[f"{name}/{entry}"] = value
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave.

        Raises:
            CheckpointError: They belong to other networks.
        """
        for name, module in self.modules().items():
            own = {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
            try:
                module.load_state_dict(own)
            except RuntimeError as error:
                text = " ".join(str(error).split())
                raise CheckpointError(f"the checkpoint does not fit the run's {name}: {text}") from error
        for optimizer, parameters in self.optimizers().values():
            for name, parameter in parameters.items():
                prefix = f"{name}/"
                entries = {
                    each.removeprefix(prefix): value for each, value in tensors.items() if each.startswith(prefix)
                }
                # All lie beside the parameter, and all but the count of steps are laid out in memory as it is.
                optimizer.state[parameter] = {
                    entry: torch.empty_like(
                        parameter if value.shape == parameter.shape else value, device=parameter.device
                    ).copy_(value)
                    for entry, value in entries.items()
                }


def build_state(config: RunConfig, registry: Registry, data: DataSpec, device: torch.device) -> TrainingState:
    """Make the players of a run, as they are before the first step.

    Raises:
        OptionError: An option that a part refuses, or a part that does not fit the data, as augmentations do not fit
            data in pairs.
        PluginError: A plugin's part could not be made.
    """
    seed_everything(config.training.seed, "networks")
    generator = registry.build("generator", config.generator.name, config.generator.options, data).to(device)
    discriminator = registry.build("discriminator", config.discriminator.name, config.discriminator.options, data).to(
        device
    )
    check_players(generator, discriminator, config, data, device)
    if config.augmentations and data.source_shape:
        raise OptionError(
            f"augmentation '{config.augmentations[0].name}' changes an example, but not the image that it comes with",
            "leave augmentations out, or let the data set yield changed pairs",
        )
    loss = registry.build("loss", config.loss.name, config.loss.options).to(device)
    penalties = [
        Penalty(
            each.name,
            registry.build("regularizer", each.name, each.options, data).to(device),
            each.weight,
            each.every,
        )
        for each in config.regularizers
    ]
    changes = [
        AppliedAugmentation(
            each.name,
            registry.build("augmentation", each.name, each.options, data).to(device),
            each.probability,
        )
        for each in config.augmentations
    ]
    for change in changes:
        if any(each.requires_grad for each in change.augmentation.parameters()):
            raise PluginError(
                f"augmentation '{change.name}' has parameters, and no player trains them",
                "keep them as buffers, or set requires_grad_(False)",
            )
    trained = find_trained(generator, discriminator, loss, penalties)
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).requires_grad_(False),
        loss=loss,
        penalties=penalties,
        changes=changes,
        # Their numbers are set before each step, see `follow_schedules`.
        generator_optimizer=make_adam(trained["generator"].values(), device),
        discriminator_optimizer=make_adam(trained["discriminator"].values(), device),
        streak=torch.zeros((), device=device),
        names={
            "generator": config.generator.name,
            "discriminator": config.discriminator.name,
            "loss": config.loss.name,
        },
    )


def make_adam(parameters: Iterable[nn.Parameter], device: torch.device) -> Adam:
    """Adam in one fused operation; on CUDA its rate is a tensor, so that steps can be recorded."""
    on_cuda = device.type == "cuda"
    rate = torch.tensor(1e-3, device=device) if on_cuda else 1e-3
    return Adam(parameters, lr=rate, fused=True, capturable=on_cuda)


def find_trained(
    generator: Generator, discriminator: Discriminator, loss: Loss, penalties: Sequence[Penalty]
) -> dict[str, dict[str, nn.Parameter]]:
    """The parameters that each player trains: those that require gradients when the parts are built.

    Parameters of the loss and of regularizers are trained with the discriminator. Those of a regularizer that
    implements `Regularizer.generator` alone are trained with the generator.

    Returns:
        By player, and by the prefix of their optimizer's entries in a checkpoint: ``generator_optimizer/NAME``.
    """
    owners: dict[str, dict[str, nn.Module]] = {
        "generator": {"generator": generator},
        "discriminator": {"discriminator": discriminator, "loss": loss},
    }
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
