"""Faster inference on a CPU: fold batch norm, use channels_last, replace transposed convolutions."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganforge.contract.networks import Generator
from ganforge.layers.conditioning import ConditionalSequential
from ganforge.layers.upsampled import UpsampledConv2d

MAX_CHANNELS = 4
"""Output channels of layers that are replaced by `PhaseShuffle`: those of images."""


def fold_and_replace(network: Generator, run: Callable[[Generator], list[Tensor]], tolerance: float) -> Generator:
    """Return the network after `fold` and `replace_layers`, in channels_last; the original if outputs differ.

    Conditional batch norm is kept, since its scale depends on the class.

    Args:
        network: In evaluation mode, without parametrizations.
        run: Returns outputs of a network, for the comparison.
        tolerance: Maximum absolute difference.
    """
    faster = copy.deepcopy(network)
    fold(faster)
    replace_layers(faster, run)
    convolutions = [each for each in faster.modules() if type(each) in (nn.Conv2d, nn.ConvTranspose2d)]
    if not convolutions:
        return network
    for module in convolutions:
        module.to(memory_format=torch.channels_last)
    try:
        outputs = run(faster)
    except RuntimeError:  # e.g. a view that requires NCHW
        return network
    same = all((new - old).abs().max() <= tolerance for new, old in zip(outputs, run(network), strict=True))
    return faster if same else network


def fold(network: nn.Module) -> None:
    """Fold batch norm into the preceding convolution of a sequential module, in place; an identity replaces it.

    `UpsampledConv2d` becomes its transposed convolution before.
    """
    for row in _find_sequences(network):
        for name, layer in list(row.named_children()):
            if type(layer) is UpsampledConv2d:
                setattr(row, name, layer.to_transposed())
    uses = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    for row in _find_sequences(network):
        for (name, layer), (name_of_norm, norm) in pairwise(list(row.named_children())):
            if not (type(norm) is nn.BatchNorm2d and norm.track_running_stats and uses[id(layer)] == 1):
                continue
            if type(layer) is nn.Conv2d:
                fused: nn.Module = fuse_conv_bn_eval(layer, norm)
            elif type(layer) is nn.ConvTranspose2d and layer.groups == 1:
                fused = fuse_conv_bn_eval(layer, norm, transpose=True)
            else:
                continue
            setattr(row, name, fused.requires_grad_(False))
            setattr(row, name_of_norm, nn.Identity())


def _find_sequences(network: nn.Module) -> list[nn.Module]:
    return [each for each in network.modules() if type(each) in (nn.Sequential, ConditionalSequential)]


class PixelToKernel(nn.Module):
    """A transposed convolution of 1 x 1 inputs as a matrix product. Scriptable.

    Args:
        layer: With stride and dilation 1, without padding; its weights keep their names and layout.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, 1, 1]`` to ``[N, channels, height, width]`` of the kernel."""
        _, channels, height, width = self.weight.shape
        maps = (x.flatten(1) @ self.weight.flatten(1)).view(-1, channels, height, width)
        return maps if self.bias is None else maps + self.bias[:, None, None]


class PhaseShuffle(nn.Module):
    """A transposed convolution of factor 2 with few channels, as one convolution and a pixel shuffle. Scriptable.

    Each output pixel depends on 2 x 2 weights of the 4 x 4 kernel, given by the parity of its row and column (phase).
    One convolution computes all four phases as channels, which uses a CPU better.

    Args:
        layer: With kernel 4, stride 2 and padding 1; its weights keep their names and layout.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to ``[N, channels, 2H, 2W]``."""
        _, channels_in, height, width = x.shape
        channels = self.weight.shape[1]
        taps = self.weight.flip([2, 3]).view(channels_in, channels, 2, 2, 2, 2)  # row: tap, phase; column: tap, phase
        kernel = taps.permute(3, 5, 1, 0, 2, 4).reshape(4 * channels, channels_in, 2, 2)
        phases = conv2d(x, kernel, padding=1).view(-1, 2, 2, channels, height + 1, width + 1)
        even, odd = phases[:, 0, :, :, :height], phases[:, 1, :, :, 1:]
        rows = [torch.stack([each[:, 0, :, :, :width], each[:, 1, :, :, 1:]], dim=4) for each in (even, odd)]
        maps = torch.stack(rows, dim=3).view(-1, channels, 2 * height, 2 * width)
        return maps if self.bias is None else maps + self.bias[:, None, None]


def replace_layers(network: nn.Module, run: Callable[[Any], object]) -> None:
    """Replace transposed convolutions of sequential modules by `PixelToKernel` or `PhaseShuffle`.

    Args:
        network: Modified in place.
        run: Calls the network, to find layers with 1 x 1 inputs.
    """
    given: dict[nn.Module, set[tuple[int, ...]]] = {}

    def record(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given.setdefault(layer, set()).add(tuple(inputs[0].shape[2:]))

    layers = [each for each in network.modules() if type(each) is nn.ConvTranspose2d]
    hooks = [layer.register_forward_pre_hook(record) for layer in layers]
    try:
        run(network)
    finally:
        for hook in hooks:
            hook.remove()
    for row in _find_sequences(network):
        for name, layer in list(row.named_children()):
            if type(layer) is not nn.ConvTranspose2d or layer.groups > 1 or layer.dilation != (1, 1):
                continue
            form = (layer.stride, layer.padding, layer.output_padding)
            if form == ((1, 1), (0, 0), (0, 0)) and given.get(layer) == {(1, 1)}:
                setattr(row, name, PixelToKernel(layer))
            elif (layer.kernel_size, *form) == ((4, 4), (2, 2), (1, 1), (0, 0)) and layer.out_channels <= MAX_CHANNELS:
                setattr(row, name, PhaseShuffle(layer))
