"""The same network quicker on a CPU: batch norm folded into convolutions, and their weights in NHWC."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganforge.interfaces import Generator
from ganforge.layers.conditioning import ConditionalSequential


def quicken(network: Generator, run: Callable[[Generator], list[Tensor]], tolerance: float) -> Generator:
    """A network with batch norm folded and convolutions in NHWC, if it computes the same; else the one given.

    Conditional batch norm stays, for its scale is another for each class.

    Args:
        network: In evaluation mode, without parametrizations.
        run: Gives outputs of a network, by which both are compared.
        tolerance: Largest difference accepted.
    """
    quick = copy.deepcopy(network)
    fold(quick)
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
