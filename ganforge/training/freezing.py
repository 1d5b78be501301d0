"""Freezing the first layers of a network, such as Freeze-D (Mo, Cho and Shin 2020, arXiv:2002.10964)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from ganforge.contract.capabilities import Growing
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError, nearest
from ganforge.contract.networks import Discriminator, Generator
from ganforge.plugins.options import coerce
from ganforge.sampling import evaluation_mode
from ganforge.training.players import labels_for


def freeze(
    settings: Sequence[str],
    networks: Mapping[str, tuple[Generator | Discriminator, DataSpec]],
    batch: int,
    labels: int | None,
    device: torch.device,
) -> list[str]:
    """Freeze layers in place, in evaluation mode and without gradients; return a message for each network.

    Args:
        settings: Networks and numbers of layers, such as ``discriminator:3``.
        networks: Networks with their data, by name.
        batch: Batch size with which each network is run once, to find the order of its layers.
        labels: Setting ``training.labels``.
        device: Device of the networks.

    Raises:
        OptionError: Unknown network, invalid number, or no layer is left to train.
    """
    lines = []
    for text in settings:
        name, _, number = text.partition(":")
        if name not in networks:
            raise OptionError(f"training.freeze: unknown network '{name}'", nearest(name, networks))
        count = coerce(number, int, f"training.freeze of {name}")
        network, data = networks[name]
        shape = (network.z_dim,) if isinstance(network, Generator) else data.shape
        layers = find_layers(
            network, torch.zeros(batch, *shape, device=device), labels_for(batch, data, device, labels)
        )
        if not 1 <= count < len(layers):
            raise OptionError(
                f"training.freeze={text}: {name} has {len(layers)} layers to train", f"freeze 1 to {len(layers) - 1}"
            )
        total = _count(network)
        chosen = [each for layer in layers[:count] for each in layer]
        for each in chosen:
            network.get_submodule(each).eval().requires_grad_(False)
        lines.append(f"frozen: {name} {', '.join(chosen)}; {_count(network):,} of its {total:,} parameters still train")
    return lines


def find_layers(network: nn.Module, *inputs: torch.Tensor | None) -> list[list[str]]:
    """Return the names of the modules of each trainable layer, in the order in which the network runs them.

    A layer is a direct part of the network, or of its sequences, lists and inner networks. Parts without a matrix or
    kernel, such as normalizations, belong to the layer before them. Layers for stages of growing do not count.
    """
    parts = {module: name for name, module in _find_parts(network)}
    used: dict[nn.Module, None] = {}

    def note(module: nn.Module, _: object) -> None:
        used[module] = None

    handles = [module.register_forward_pre_hook(note) for module in parts]
    if isinstance(network, Growing):
        network.grow(network.phases()[-1])
    with evaluation_mode(network), torch.no_grad():
        network(*inputs)
    if isinstance(network, Growing):
        network.grow(0)
    for handle in handles:
        handle.remove()
    layers: list[list[str]] = []
    for module in used:
        if layers and all(each.dim() < 2 for each in module.parameters()):
            layers[-1].append(parts[module])
        else:
            layers.append([parts[module]])
    return layers


def _find_parts(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, module in network.named_children():
        if isinstance(module, (nn.Sequential, nn.ModuleList, Generator, Discriminator)):
            yield from _find_parts(module, f"{prefix}{name}.")
        elif _count(module):
            yield prefix + name, module


def _count(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(each.numel() for each in module.parameters() if each.requires_grad)
