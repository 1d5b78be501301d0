"""All that changes while a run trains: networks, their average, optimisers, penalties, and the count of images."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganforge.capabilities import Growing
from ganforge.config import OptimizerConfig, RunConfig
from ganforge.errors import CheckpointError, GanforgeError, OptionError, PluginError
from ganforge.interfaces import Augmentation, DataSpec, Discriminator, Generator, Loss, Regularizer
from ganforge.registry import Registry
from ganforge.sampling import stand_in_labels
from ganforge.schedules import Schedule
from ganforge.shortage import is_out_of_memory
from ganforge.training.randomness import seed_everything


@dataclass
class Penalty:
    """A regulariser with its weight and its interval in steps of its player."""

    name: str
    regularizer: Regularizer
    weight: Schedule
    every: int


@dataclass
class Change:
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
    """

    generator: Generator
    discriminator: Discriminator
    average: Generator
    loss: Loss
    penalties: list[Penalty]
    changes: list[Change]
    generator_optimizer: Adam
    discriminator_optimizer: Adam
    images: int = 0
    seconds: float = 0.0
    streak: Tensor = field(default_factory=lambda: torch.zeros(()))
    rollbacks: int = 0
    was_counted: bool = False

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
                changed = change.augmentation(images)
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

    def optimizers(self) -> dict[str, tuple[Adam, nn.Module]]:
        """The optimisers with the networks that they step, by name."""
        return {
            "generator_optimizer": (self.generator_optimizer, self.generator),
            "discriminator_optimizer": (self.discriminator_optimizer, self.discriminator),
        }

    def match_layouts(self) -> None:
        """Lay what optimisers keep of each weight out in memory as the weight is: they step through both at once."""
        for optimizer, network in self.optimizers().values():
            for parameter in network.parameters():
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
        for name, (optimizer, network) in self.optimizers().items():
            for key, parameter in network.named_parameters():
                for entry, value in optimizer.state[parameter].items():
                    tensors[f"{name}/{key}/{entry}"] = value
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
        for name, (optimizer, network) in self.optimizers().items():
            for key, parameter in network.named_parameters():
                prefix = f"{name}/{key}/"
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
    penalties = [
        Penalty(each.name, registry.build("regularizer", each.name, each.options).to(device), each.weight, each.every)
        for each in config.regularizers
    ]
    changes = [
        Change(
            each.name,
            registry.build("augmentation", each.name, each.options, data).to(device),
            each.probability,
        )
        for each in config.augmentations
    ]
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).requires_grad_(False),
        loss=registry.build("loss", config.loss.name, config.loss.options).to(device),
        penalties=penalties,
        changes=changes,
        # Their numbers are set before each step, see `follow_schedules`.
        generator_optimizer=make_adam(generator, device),
        discriminator_optimizer=make_adam(discriminator, device),
        streak=torch.zeros((), device=device),
    )


def make_adam(network: nn.Module, device: torch.device) -> Adam:
    """Adam on all weights, in one operation; on CUDA its rate is a tensor, so that steps can be recorded."""
    on_cuda = device.type == "cuda"
    rate = torch.tensor(1e-3, device=device) if on_cuda else 1e-3
    return Adam(network.parameters(), lr=rate, fused=True, capturable=on_cuda)


def check_players(
    generator: Generator, discriminator: Discriminator, config: RunConfig, data: DataSpec, device: torch.device
) -> None:
    """Run both networks once and refuse shapes that cannot train.

    Raises:
        OptionError: Examples of another shape than the data's, logits that are no vector, networks that ask for
            classes when ``training.labels`` leaves most examples without, or players that do not grow alike.
    """
    phases = [each.phases() if isinstance(each, Growing) else (0,) for each in (generator, discriminator)]
    if phases[0] != phases[1]:
        first, second = (f"after {', '.join(map(str, each[1:]))} images" if each[1:] else "never" for each in phases)
        raise OptionError(
            f"the players grow apart: the generator {first}; the discriminator {second}",
            "set growing, start_resolution, stage_images and fade_images alike for generator and discriminator",
        )
    batch, odd = divmod(config.training.batch, config.training.accumulate)
    if odd:
        raise OptionError(
            f"training.accumulate={config.training.accumulate} does not divide training.batch={config.training.batch}",
            "choose a divisor, or another batch",
        )
    few = config.training.labels  # then no step knows the classes of its examples
    labels = stand_in_labels(batch, data) if few is None else None
    labels = None if labels is None else labels.to(device)
    was_training = generator.training, discriminator.training
    generator.eval(), discriminator.eval()
    latents = torch.zeros(batch, generator.z_dim, device=device)
    fake = _try_out(f"generator '{config.generator.name}'", generator, latents, labels, few)
    if tuple(fake.shape) != (batch, *data.shape):
        raise OptionError(
            f"generator '{config.generator.name}' makes {tuple(fake.shape)} of {batch} latent vectors, "
            f"but examples are {(batch, *data.shape)}"
        )
    logits = _try_out(f"discriminator '{config.discriminator.name}'", discriminator, fake, labels, few)
    if logits.dim() != 1 or not (0 < len(logits) < batch or (len(logits) and len(logits) % batch == 0)):
        raise OptionError(
            f"discriminator '{config.discriminator.name}' returns {tuple(logits.shape)} for {batch} examples, "
            "not logits [N], nor as many of each"
        )
    generator.train(was_training[0]), discriminator.train(was_training[1])


def _try_out(title: str, network: nn.Module, x: Tensor, labels: Tensor | None, few: int | None) -> Tensor:
    """What a network returns.

    Raises:
        OptionError: It asks for classes, but `few` leaves most examples without.
        PluginError: It fails, or what it returns cannot be trained.
    """
    try:
        output = network(x, labels)
    except GanforgeError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = " ".join(str(error).split())
        if few is not None and isinstance(error, ValueError):
            raise OptionError(
                f"training.labels={few} leaves most examples without a class, but {text}",
                "set generator.conditioning=none and discriminator.conditioning=joint, as --arch semi-supervised does",
            ) from error
        raise PluginError(f"{title} fails: {type(error).__name__}: {text[:300]}", "see --debug") from error
    if not isinstance(output, Tensor):
        raise PluginError(f"{title} returns {type(output).__name__}", "it must return one tensor")
    if output.dtype != torch.get_default_dtype():
        raise PluginError(f"{title} returns {output.dtype}", f"it must return {torch.get_default_dtype()}")
    if not output.requires_grad:
        raise PluginError(f"{title} returns what no gradient leads through", "it must not detach, nor leave torch")
    if not output.isfinite().all():
        raise PluginError(f"{title} returns numbers that are not finite, before its first step")
    return output.detach()
