"""The same network quicker on a CPU: batch norm folded, NHWC, and what suits the ends of a network."""

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

FEW = 4
"""Channels of images; maps have more."""


def quicken(network: Generator, run: Callable[[Generator], list[Tensor]], tolerance: float) -> Generator:
    """A network after `fold` and `replace_layers`, convolutions in NHWC, if it computes the same; else the one given.

    Conditional batch norm stays, for its scale is another for each class.

    Args:
        network: In evaluation mode, without parametrizations.
        run: Gives outputs of a network, by which both are compared.
        tolerance: Largest difference accepted.
    """
    quick = copy.deepcopy(network)
    fold(quick)
    replace_layers(quick, run)
    convolutions = [each for each in quick.modules() if type(each) in (nn.Conv2d, nn.ConvTranspose2d)]
    if not convolutions:
        return network
    for module in convolutions:
        module.to(memory_format=torch.channels_last)
    try:
        outputs = run(quick)
    except RuntimeError:  # such as a view of maps that takes them to be NCHW
        return network
    same = all((new - old).abs().max() <= tolerance for new, old in zip(outputs, run(network), strict=True))
    return quick if same else network


def fold(network: nn.Module) -> None:
    """Fold batch norm into the convolution before it wherever they are neighbours in a row of layers, in place.

    Names of the other layers stay as they are: an identity takes the place of the norm.
    """
    uses = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    for row in [each for each in network.modules() if type(each) in (nn.Sequential, ConditionalSequential)]:
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


class SpreadPixel(nn.Module):
    """A transposed convolution of maps of one pixel, as the matrix product that it is. Scriptable.

    Args:
        layer: Of stride and dilation 1, without padding; its weights keep their names and their layout.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, 1, 1]`` to ``[N, channels, height, width]`` of the kernel."""
        _, channels, height, width = self.weight.shape
        maps = (x.flatten(1) @ self.weight.flatten(1)).view(-1, channels, height, width)
        return maps if self.bias is None else maps + self.bias[:, None, None]


class DoubleToFew(nn.Module):
    """A transposed convolution that doubles maps and has few channels, as one convolution and a shuffle. Scriptable.

    Of a kernel of 4 x 4 each output pixel meets 2 x 2 weights: those of its phase, which is whether its row and its
    column are even. One convolution computes all four phases as channels; so few of them fill a processor better.

    Args:
        layer: Of kernel 4, stride 2 and padding 1; its weights keep their names and their layout.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` to ``[N, channels, 2H, 2W]``."""
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
    """Put what is quicker in the place of transposed convolutions in rows of layers: `SpreadPixel`, `DoubleToFew`.

    Args:
        network: Changed in place.
        run: Has it compute something, to see which layers are given one pixel.
    """
    given: dict[nn.Module, set[tuple[int, ...]]] = {}

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given.setdefault(layer, set()).add(tuple(inputs[0].shape[2:]))

    layers = [each for each in network.modules() if type(each) is nn.ConvTranspose2d]
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        run(network)
    finally:
        for hook in hooks:
            hook.remove()
    for row in [each for each in network.modules() if type(each) in (nn.Sequential, ConditionalSequential)]:
        for name, layer in list(row.named_children()):
            if type(layer) is not nn.ConvTranspose2d or layer.groups > 1 or layer.dilation != (1, 1):
                continue
            form = (layer.stride, layer.padding, layer.output_padding)
            if form == ((1, 1), (0, 0), (0, 0)) and given.get(layer) == {(1, 1)}:
                setattr(row, name, SpreadPixel(layer))
            elif (layer.kernel_size, *form) == ((4, 4), (2, 2), (1, 1), (0, 0)) and layer.out_channels <= FEW:
                setattr(row, name, DoubleToFew(layer))
