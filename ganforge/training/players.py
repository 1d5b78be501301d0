"""Validation of both networks before and during training: shapes, types and gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ganforge.config.schema import RunConfig
from ganforge.contract.capabilities import ExtraOutputs, Growing
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import GanforgeError, OptionError, PluginError
from ganforge.contract.networks import Discriminator, Generator
from ganforge.core.out_of_memory import is_out_of_memory
from ganforge.plugins.part_errors import part_errors
from ganforge.sampling import evaluation_mode, stand_in_labels


def validate_networks(
    generator: Generator,
    discriminator: Discriminator,
    others: Mapping[str, Generator | Discriminator],
    config: RunConfig,
    data: DataSpec,
    device: torch.device,
) -> None:
    """Run all networks once and validate their outputs.

    Raises:
        OptionError: Outputs do not fit the data, the networks grow differently, or need labels that are missing.
        PluginError: A network fails, or its output cannot be trained.
    """
    phases = [each.phases() if isinstance(each, Growing) else (0,) for each in (generator, discriminator)]
    if config.training.d_steps and phases[0] != phases[1]:
        first, second = (f"after {', '.join(map(str, each[1:]))} images" if each[1:] else "never" for each in phases)
        raise OptionError(
            f"generator and discriminator grow differently: generator {first}; discriminator {second}",
            "set growing, start_resolution, stage_images and fade_images alike for generator and discriminator",
        )
    batch, odd = divmod(config.training.batch, config.training.accumulate)
    if odd:
        raise OptionError(
            f"training.accumulate={config.training.accumulate} does not divide training.batch={config.training.batch}",
            "choose a divisor, or another batch size",
        )
    few = config.training.labels  # then most examples have no label
    name = config.generator.name
    fake = _validate_generator(f"generator '{name}'", generator, data, batch, device, few)
    if isinstance(generator, ExtraOutputs):
        with part_errors("generator", name), torch.no_grad(), evaluation_mode(generator):
            _validate_extras(f"generator '{name}'", generator, fake, labels_for(batch, data, device, few))
    if config.training.d_steps:
        _validate_discriminator(f"discriminator '{config.discriminator.name}'", discriminator, fake, data, few)
    for each in config.networks:
        network, spec, title = others[each.key], each.spec(data), f"network '{each.key}' ({each.player} '{each.name}')"
        if isinstance(network, Generator):
            _validate_generator(title, network, spec, batch, device, few)
        else:
            examples = torch.zeros(batch, *spec.shape, device=device)
            _validate_discriminator(title, network, examples, spec, few)


def _validate_generator(
    title: str, network: Generator, data: DataSpec, batch: int, device: torch.device, few: int | None
) -> Tensor:
    """Return examples of a generator after validation."""
    latents = torch.zeros(batch, network.z_dim, device=device)
    fake = _probe(title, network, latents, labels_for(batch, data, device, few), few)
    if tuple(fake.shape) != (batch, *data.shape):
        raise OptionError(
            f"{title} returns {tuple(fake.shape)} for {batch} latent vectors, but examples are {(batch, *data.shape)}"
        )
    return fake


def _validate_extras(title: str, network: ExtraOutputs, fake: Tensor, labels: Tensor | None) -> None:
    outputs = network.outputs(torch.zeros(len(fake), network.z_dim, device=fake.device), labels)
    if not isinstance(outputs, list) or not outputs or outputs[0].shape != fake.shape:
        raise PluginError(f"{title}: outputs must return a list, the examples {tuple(fake.shape)} first")
    if not all(each.is_floating_point() for each in outputs):
        raise PluginError(
            f"{title}: extra outputs are {[each.dtype for each in outputs[1:]]}", "use floating-point types"
        )
    made, found = ([tuple(each.shape) for each in extras] for extras in (outputs[1:], network.extras_of(fake, labels)))
    if made != found:
        raise PluginError(f"{title}: extra outputs are {made}, but extras_of returns {found}", "both must be equal")


def _validate_discriminator(
    title: str, network: Discriminator, examples: Tensor, data: DataSpec, few: int | None
) -> None:
    batch = len(examples)
    logits = _probe(title, network, examples, labels_for(batch, data, examples.device, few), few)
    if logits.dim() != 1 or not is_valid_count(len(logits), batch):
        raise OptionError(
            f"{title} returns {tuple(logits.shape)} for {batch} examples, "
            "expected logits [N], or an equal number per example"
        )
    wanted = batch * sum(count for count, _ in network.scales)
    if network.scales and len(logits) != wanted:
        raise OptionError(
            f"{title} returns {len(logits)} logits for {batch} examples, but its scales are of {wanted}",
            "scales must list all logits of an example",
        )


def labels_for(batch: int, data: DataSpec, device: torch.device, few: int | None) -> Tensor | None:
    """Return labels to try a network; None where most examples have none, with `few` labels."""
    labels = stand_in_labels(batch, data) if few is None else None
    return None if labels is None else labels.to(device)


def is_valid_count(count: int, batch: int) -> bool:
    """Return whether `count` logits fit a batch: one per example, pack or patch."""
    return count > 0 and (batch % count == 0 or count % batch == 0)


def require_same_shape(title: str, examples: Tensor, like: Tensor) -> None:
    """Raise `PluginError` unless examples have the shape and type of `like`."""
    if examples.shape != like.shape or examples.dtype != like.dtype:
        found, wanted = (f"{tuple(each.shape)} of {each.dtype}" for each in (examples, like))
        raise PluginError(f"{title} returned {found}", f"it must return {wanted}")


def require_logits(title: str, output: Tensor, inputs: Tensor) -> None:
    """Raise `PluginError` unless logits or features match the examples, packs or patches of a batch in number."""
    count, batch = len(output) if output.dim() else 0, len(inputs)
    if not is_valid_count(count, batch) or output.dtype != inputs.dtype:
        raise PluginError(
            f"{title} returned {tuple(output.shape)} of {output.dtype} for a batch of {batch} of {inputs.dtype}",
            "it must return one row per example, pack or patch, of the same type",
        )


def _probe(title: str, network: nn.Module, x: Tensor, labels: Tensor | None, few: int | None) -> Tensor:
    """Return the detached output of a network; raise an error that names the network if it cannot be trained."""
    if not any(each.requires_grad for each in network.parameters()):
        raise PluginError(f"{title} has no trainable parameters", "at least one must have requires_grad=True")
    try:
        with evaluation_mode(network):
            output = network(x, labels)
    except GanforgeError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = " ".join(str(error).split())
        if few is not None and isinstance(error, ValueError):
            raise OptionError(
                f"training.labels={few} leaves most examples without a label, but {text}",
                "set generator.conditioning=none and discriminator.conditioning=joint, as --arch semi-supervised does",
            ) from error
        raise PluginError(f"{title} fails: {type(error).__name__}: {text[:300]}", "see --debug") from error
    if not isinstance(output, Tensor):
        raise PluginError(f"{title} returns {type(output).__name__}", "it must return one tensor")
    if output.dtype != torch.get_default_dtype():
        raise PluginError(f"{title} returns {output.dtype}", f"it must return {torch.get_default_dtype()}")
    if not output.requires_grad:
        raise PluginError(f"{title} returns a tensor without gradient", "it must not detach tensors or leave torch")
    if not output.isfinite().all():
        raise PluginError(f"{title} returns non-finite values before its first step")
    return output.detach()
