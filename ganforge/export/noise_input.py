"""Noise as an input of the exported network, in place of noise that `NoiseInjection` draws or stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.contract.capabilities import StyleGenerator
from ganforge.core.accelerator import fork_random_state
from ganforge.layers.noise import NOISE_MODES, NoiseInjection


class NoiseInput:
    """Noise of the current call.

    Attributes:
        noise: Noise of all layers, concatenated, ``[N, K]``.
        fixed_noise: Factor of each layer's fixed noise, ``[L]``: 1 to add it, 0 to omit it.
    """

    noise: Tensor
    fixed_noise: Tensor

    @contextmanager
    def hold(self, noise: Tensor, fixed_noise: Tensor) -> Iterator[None]:
        """Set the noise while the block runs."""
        self.noise, self.fixed_noise = noise, fixed_noise
        try:
            yield
        finally:
            del self.noise, self.fixed_noise


class InjectedNoise(nn.Module):
    """Replaces a `NoiseInjection` and adds noise from a `NoiseInput`.

    Args:
        layer: The replaced layer.
        source: Noise of the current call.
        index: Number of the layer.
        start: Offset of the layer's noise in the noise of all layers.
    """

    def __init__(self, layer: NoiseInjection, source: NoiseInput, index: int, start: int) -> None:
        super().__init__()
        self.layer = layer
        self.source = source
        self.index = index
        self.start = start

    def forward(self, x: Tensor, noise: str = "random") -> Tensor:
        fixed = self.layer.fixed
        drawn = self.source.noise[:, self.start : self.start + fixed.numel()].view(-1, *fixed.shape[1:])
        strength = self.layer.strength * self.layer.lr_multiplier
        added = drawn + self.source.fixed_noise[self.index] * fixed
        return torch.addcmul(x, strength.to(x.dtype), added.to(x.dtype))


class NoisePlan:
    """The noise layers of a generator, their order and modes.

    Args:
        network: A style-based generator, in evaluation mode.

    Attributes:
        layers: Names of the layers in call order.
        sizes: Shape of each layer's noise, ``(1, H, W)``.
        modes: For each of `NOISE_MODES`, the factor of each layer's fixed noise.
    """

    def __init__(self, network: StyleGenerator) -> None:
        modes = {mode: _modes_by_layer(network, mode) for mode in NOISE_MODES}
        self.layers = [name for name, mode in modes["random"].items() if mode == "random"]
        self.sizes = [tuple(network.get_parameter(f"{name}.fixed").shape[1:]) for name in self.layers]
        self.modes = {
            mode: [float(by_layer.get(name) == "fixed") for name in self.layers] for mode, by_layer in modes.items()
        }

    @property
    def size(self) -> int:
        """K, noise values per image."""
        return sum(height * width for _, height, width in self.sizes)

    def install(self, network: StyleGenerator) -> NoiseInput:
        """Replace the noise layers of a network, in place."""
        source, start = NoiseInput(), 0
        for index, (name, size) in enumerate(zip(self.layers, self.sizes, strict=True)):
            layer = network.get_submodule(name)
            network.set_submodule(name, InjectedNoise(layer, source, index, start))  # type: ignore[arg-type]
            start += size[1] * size[2]
        return source

    def draw(self, count: int) -> Tensor:
        """Draw noise ``[count, K]`` from N(0, 1), equal to what the layers would draw next."""
        return torch.cat([torch.randn(count, *size).flatten(1) for size in self.sizes], dim=1)


def _modes_by_layer(network: StyleGenerator, noise: str) -> dict[str, str]:
    """Return the noise mode that each `NoiseInjection` receives for a mode of the network, in call order."""
    received: dict[str, str] = {}
    hooks = []
    for name, layer in network.named_modules():
        if isinstance(layer, NoiseInjection):

            def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], name: str = name) -> None:
                received[name] = kwargs.get("noise", args[1] if len(args) > 1 else "random")

            hooks.append(layer.register_forward_pre_hook(record, with_kwargs=True))
    like = next(network.parameters())
    styles = torch.zeros(1, network.num_styles, network.w_dim, dtype=like.dtype, device=like.device)
    try:
        with fork_random_state(like.device), torch.no_grad():
            network.synthesis(styles, noise)
    finally:
        for hook in hooks:
            hook.remove()
    return received
