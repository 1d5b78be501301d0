"""Trial of both players before a run: shapes, types and gradients of what they return."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganforge.config.schema import RunConfig
from ganforge.contract.capabilities import Growing
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import GanforgeError, OptionError, PluginError
from ganforge.contract.networks import Discriminator, Generator
from ganforge.core.out_of_memory import is_out_of_memory
from ganforge.sampling import evaluation_mode, stand_in_labels


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
    for title, network in (
        (f"generator '{config.generator.name}'", generator),
        (f"discriminator '{config.discriminator.name}'", discriminator),
    ):
        if not any(each.requires_grad for each in network.parameters()):
            raise PluginError(f"{title} has no parameters to train", "one at least must have requires_grad=True")
    latents = torch.zeros(batch, generator.z_dim, device=device)
    with evaluation_mode(generator):
        fake = _try_out(f"generator '{config.generator.name}'", generator, latents, labels, few)
    if tuple(fake.shape) != (batch, *data.shape):
        raise OptionError(
            f"generator '{config.generator.name}' makes {tuple(fake.shape)} of {batch} latent vectors, "
            f"but examples are {(batch, *data.shape)}"
        )
    with evaluation_mode(discriminator):
        logits = _try_out(f"discriminator '{config.discriminator.name}'", discriminator, fake, labels, few)
    if logits.dim() != 1 or not divides(len(logits), batch):
        raise OptionError(
            f"discriminator '{config.discriminator.name}' returns {tuple(logits.shape)} for {batch} examples, "
            "not logits [N], nor as many of each"
        )


def divides(count: int, batch: int) -> bool:
    """Whether a discriminator may return `count` logits for a batch: one for each example, pack or patch."""
    return count > 0 and (batch % count == 0 or count % batch == 0)


def require_alike(title: str, examples: Tensor, like: Tensor) -> None:
    """Refuse examples of another shape or type than those that were asked for.

    Raises:
        PluginError: Naming the part, such as ``generator 'dcgan'``.
    """
    if examples.shape != like.shape or examples.dtype != like.dtype:
        found, wanted = (f"{tuple(each.shape)} of {each.dtype}" for each in (examples, like))
        raise PluginError(f"{title} returned {found}", f"it must return {wanted}")


def require_judged(title: str, output: Tensor, inputs: Tensor) -> None:
    """Refuse logits or features that do not belong to the examples, one by one, in packs or in patches.

    Raises:
        PluginError: Naming the part, such as ``discriminator 'dcgan'``.
    """
    count, batch = len(output) if output.dim() else 0, len(inputs)
    if not divides(count, batch) or output.dtype != inputs.dtype:
        raise PluginError(
            f"{title} returned {tuple(output.shape)} of {output.dtype} for a batch of {batch} of {inputs.dtype}",
            "it must return as many rows as examples, packs or patches, of the same type",
        )


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
