"""Noise that is handed in: what `NoiseInjection` draws or keeps becomes an input of the exported network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.contract.capabilities import StyleGenerator
from ganforge.layers.noise import NOISE_MODES, NoiseInjection


class Supply:
    """The noise of the call that is under way.

    Attributes:
        noise: Drawn noise of all layers, one beside the other, ``[N, K]``.
        fixed_noise: How much of its fixed noise each layer adds to that, ``[L]``: 1 for all, 0 for none.
    """

    noise: Tensor
    fixed_noise: Tensor

    @contextmanager
    def hold(self, noise: Tensor, fixed_noise: Tensor) -> Iterator[None]:
        """Have these at hand, and no longer than needed."""
        self.noise, self.fixed_noise = noise, fixed_noise
        try:
            yield
        finally:
            del self.noise, self.fixed_noise


class SuppliedNoise(nn.Module):
    """Stands in for a `NoiseInjection` and adds the noise that it is supplied with, whatever it is asked for.

    Args:
        layer: The one it stands in for.
        supply: Where the noise comes from.
        index: Number of the layer.
        start: Where its own noise begins among that of all layers.
    """

    def __init__(self, layer: NoiseInjection, supply: Supply, index: int, start: int) -> None:
        super().__init__()
        self.layer = layer
        self.supply = supply
        self.index = index
        self.start = start

    def forward(self, x: Tensor, noise: str = "random") -> Tensor:
        """Maps ``[N, C, H, W]`` to the same shape."""
        fixed = self.layer.fixed
        drawn = self.supply.noise[:, self.start : self.start + fixed.numel()].view(-1, *fixed.shape[1:])
        strength = self.layer.strength * self.layer.lr_multiplier
        added = drawn + self.supply.fixed_noise[self.index] * fixed
        return torch.addcmul(x, strength.to(x.dtype), added.to(x.dtype))


class NoisePlan:
    """Which layers of a generator add noise, in which order and in which mode.

    Args:
        network: A generator by styles, in evaluation mode.

    Attributes:
        layers: Names of the layers in the order in which they draw.
        sizes: Shape of one layer's noise, ``(1, H, W)`` each.
        modes: For each of `NOISE_MODES`, how much of its fixed noise each layer adds.
    """

    def __init__(self, network: StyleGenerator) -> None:
        asked = {mode: _modes_by_layer(network, mode) for mode in NOISE_MODES}
        self.layers = [name for name, mode in asked["random"].items() if mode == "random"]
        self.sizes = [tuple(network.get_buffer(f"{name}.fixed").shape[1:]) for name in self.layers]
        self.modes = {
            mode: [float(by_layer.get(name) == "fixed") for name in self.layers] for mode, by_layer in asked.items()
        }

    @property
    def size(self) -> int:
        """K, how many numbers of noise one image takes."""
        return sum(height * width for _, height, width in self.sizes)

    def install(self, network: StyleGenerator) -> Supply:
        """Let noise be supplied to a network from now on, in place."""
        supply, start = Supply(), 0
        for index, (name, size) in enumerate(zip(self.layers, self.sizes, strict=True)):
            layer = network.get_submodule(name)
            network.set_submodule(name, SuppliedNoise(layer, supply, index, start))  # type: ignore[arg-type]
            start += size[1] * size[2]
        return supply

    def draw(self, count: int) -> Tensor:
        """Noise ``[count, K]`` from N(0, 1): the numbers that the layers would draw next, in their order."""
        return torch.cat([torch.randn(count, *size).flatten(1) for size in self.sizes], dim=1)


def _modes_by_layer(network: StyleGenerator, noise: str) -> dict[str, str]:
    """What each `NoiseInjection` is asked for if the network is asked for this noise, in the order of their calls."""
    asked: dict[str, str] = {}
    hooks = []
    for name, layer in network.named_modules():
        if isinstance(layer, NoiseInjection):

            def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> None:
                asked[name] = kwargs.get("noise", args[1] if len(args) > 1 else "random")

            hooks.append(layer.register_forward_pre_hook(look, with_kwargs=True))
    like = next(network.parameters())
    styles = torch.zeros(1, network.num_styles, network.w_dim, dtype=like.dtype, device=like.device)
    try:
        with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []), torch.no_grad():
            network.synthesis(styles, noise)
    finally:
        for hook in hooks:
            hook.remove()
    return asked
