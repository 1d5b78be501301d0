"""Importer of StyleGAN2 checkpoints of the repository stylegan2-pytorch by rosinality: ``torch.save`` of a dict.

Names and shapes of the tensors give the architecture. Layers have the form of the published networks, see
`stylegan2_ada`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge import CheckpointError, DataSpec, Imported, Importer, StoredTensor, read_pickle
from ganforge.builtin.pickled_modules import WeightsFor, find_widths, separate_taps
from ganforge.builtin.state_dicts import reading
from ganforge.builtin.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ganforge.builtin.stylegan_layers import NOISE_SPEED

_GAIN = 2**0.5
_SPEED = 0.01
"""Learning rate multiplier of the mapping network, by which its weights and biases are multiplied."""

_MEAN_OF = 4096
"""Latents whose mean style is the mean of a file without one."""


class Rosinality(Importer):
    """StyleGAN2 of rosinality's stylegan2-pytorch: a ``.pt`` file with ``g_ema``; ``g`` and ``d`` for training on."""

    def recognizes(self, path: Path) -> bool:
        try:
            content = read_pickle(path).content
        except CheckpointError:
            return False
        found = content.get("g_ema") if isinstance(content, dict) else None
        return isinstance(found, dict) and "input.input" in found and "style.1.weight" in found

    def read(self, path: Path) -> Imported:
        content = read_pickle(path).content
        with reading(path):
            return _convert(content if isinstance(content, dict) else {})


class _Tensors:
    """A state dictionary that is read as data."""

    def __init__(self, content: Any, name: str) -> None:
        if not isinstance(content, dict):
            raise CheckpointError(f"no state dictionary '{name}'")
        self._stored = {key: each for key, each in content.items() if isinstance(each, StoredTensor)}
        self.name = name

    def __contains__(self, key: str) -> bool:
        return key in self._stored

    def shape(self, key: str) -> tuple[int, ...]:
        if key not in self._stored:
            raise CheckpointError(f"{self.name} has no tensor '{key}'")
        return self._stored[key].shape

    def require_shape(self, key: str, *expected: int) -> None:
        if self.shape(key) != expected:
            raise CheckpointError(f"{self.name}.{key} has shape {self.shape(key)}, but {expected} fits the rest")

    def get(self, key: str) -> Tensor:
        self.shape(key)
        return self._stored[key].load().double()

    def scaled(self, key: str) -> Tensor:
        """Return a weight that is divided by the square root of the number of its inputs."""
        weight = self.get(key)
        scaled: Tensor = weight * math.prod(weight.shape[1:]) ** -0.5
        return scaled


def _convert(content: Mapping[str, Any]) -> Imported:
    ema = _Tensors(content.get("g_ema"), "g_ema")
    data, options = _describe(ema)
    mean, notes = None, []
    if "latent_avg" in (top := _Tensors(content, "the file")):  # converted from the published files of StyleGAN2
        top.require_shape("latent_avg", options["w_dim"])
        mean = top.get("latent_avg")
    else:
        notes.append(f"the file has no mean style; it is computed from {_MEAN_OF} latents")
    if "noises.noise_0" not in ema:
        notes.append("the file has no fixed noise; it is drawn anew")
    weights = _generator_weights(ema, data, options, mean)
    players: dict[str, Mapping[str, Tensor]] = {}
    settings: dict[str, Any] = {"recipe": "stylegan2"}
    if "d" in content:
        judge = _Tensors(content["d"], "d")
        judged = _describe_discriminator(judge, data, options)
        settings["discriminator"] = {"name": "stylegan2", **judged}
        trained = _Tensors(content["g"], "g") if "g" in content else ema
        if _describe(trained) != (data, options):
            raise CheckpointError("g and g_ema have different architectures")
        players["generator"] = _generator_weights(trained, data, options, mean)
        players["discriminator"] = _discriminator_weights(judge, data, judged)
    else:
        notes.append("the file has no discriminator d; --init-from starts with a new one")
    return Imported(
        generator="stylegan2",
        options=options,
        data=data,
        weights=weights,
        players=players,
        settings=settings,
        source={"format": "StyleGAN2 of rosinality/stylegan2-pytorch"},
        notes=tuple(notes),
    )


def _describe(found: _Tensors) -> tuple[DataSpec, dict[str, Any]]:
    num_layers = 0
    while f"style.{num_layers + 1}.weight" in found:
        num_layers += 1
        w_dim = found.shape("style.1.weight")[0]
        found.require_shape(f"style.{num_layers}.weight", w_dim, w_dim)
    levels = 0
    while f"to_rgbs.{levels}.conv.weight" in found:
        levels += 1
    if not 1 <= levels <= 8:
        raise CheckpointError(f"{levels} doublings are unsupported", "the resolutions are 8, 16, ... 1024")
    resolution = 4 << levels
    kernels = ["conv1.conv.weight", *(f"convs.{2 * level + 1}.conv.weight" for level in range(levels))]
    channels = [sum(found.shape(each)[1:2]) for each in kernels]
    for name, count in zip(kernels, channels, strict=True):
        found.require_shape(name, 1, count, count, 3, 3)
    colors = sum(found.shape(f"to_rgbs.{levels - 1}.conv.weight")[1:2])
    found.require_shape(f"to_rgbs.{levels - 1}.conv.weight", 1, colors, channels[-1], 1, 1)
    width, max_width = find_widths(channels[::-1])
    data = DataSpec((colors, resolution, resolution))
    return data, {
        "z_dim": w_dim,
        "w_dim": w_dim,
        "width": width,
        "max_width": max_width,
        "mapping_layers": num_layers,
        "architecture": "skip",
        # The filter of upsampling has gain 4.
        "filter": separate_taps(found.get("to_rgbs.0.upsample.kernel") / 4, found.name),
        "output": "linear",
    }


def _generator_weights(
    found: _Tensors, data: DataSpec, options: dict[str, Any], mean: Tensor | None
) -> dict[str, Tensor]:
    network = StyleGAN2Generator(data, **options)
    weights = WeightsFor(network)
    for index in range(options["mapping_layers"]):
        name = f"style.{index + 1}"
        weight, bias = found.scaled(f"{name}.weight"), found.get(f"{name}.bias")
        weights.put_layer(f"mapper.layers.{2 * index}", _GAIN * _SPEED * weight, _GAIN * _SPEED * bias, name)
    weights.put("constant", found.get("input.input"), "input.input")
    num_layers = 2 * int(math.log2(data.shape[1])) - 3
    colors = []
    for index in range(num_layers):
        source, name = "conv1" if index == 0 else f"convs.{index - 1}", f"layers.{index}"
        _put_affine(weights, f"{name}.convolution.affine", found, f"{source}.conv.modulation")
        weights.put(f"{name}.convolution.convolution.weight", found.get(f"{source}.conv.weight").squeeze(0), source)
        bias = found.get(f"{source}.activate.bias")[:, None, None]
        strength = found.get(f"{source}.noise.weight") / NOISE_SPEED
        weights.put(f"{name}.noise.strength", strength.view(-1, 1, 1).expand(bias.shape), source)
        fixed = f"noises.noise_{index}"
        shape = network.get_parameter(f"{name}.noise.fixed").shape
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(index))
        weights.put(f"{name}.noise.fixed", found.get(fixed) if fixed in found else drawn, fixed)
        weights.put(f"{name}.bias", bias, source)
        if index % 2 == 0:
            level = index // 2
            source, name = "to_rgb1" if level == 0 else f"to_rgbs.{level - 1}", f"to_pixels.{level}"
            _put_affine(weights, f"{name}.affine", found, f"{source}.conv.modulation")
            kernel = found.get(f"{source}.conv.weight").squeeze(0)
            weights.put_layer(f"{name}.convolution", _GAIN * kernel / kernel.shape[1] ** 0.5, None, source)
            colors.append(found.get(f"{source}.bias").squeeze(0))
    weights.put("color", torch.stack(colors), "to_rgbs")
    weights.put("mapper.num_batches", torch.tensor(1000), "")  # further training moves the mean slowly
    weights.put("mapper.mean", torch.zeros(options["w_dim"]) if mean is None else mean, "latent_avg")
    if mean is None:
        network.load_state_dict(weights.finish())
        latents = torch.randn(_MEAN_OF, options["z_dim"], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            weights.put("mapper.mean", network.eval().mapper(latents).mean(0), "")
    return weights.finish()


def _put_affine(weights: WeightsFor, name: str, found: _Tensors, source: str) -> None:
    weights.put_layer(name, found.scaled(f"{source}.weight"), found.get(f"{source}.bias"), source)


def _describe_discriminator(found: _Tensors, data: DataSpec, options: dict[str, Any]) -> dict[str, Any]:
    levels = int(math.log2(data.shape[1])) - 2
    kernels = [f"convs.{level + 1}.conv1.0.weight" for level in range(levels)]
    channels = [sum(found.shape(each)[:1]) for each in kernels]
    for name, count in zip(kernels, channels, strict=True):
        found.require_shape(name, count, count, 3, 3)
    width, max_width = find_widths([*channels, sum(found.shape("final_conv.0.weight")[:1])])
    statistics = {"minibatch": "deviation", "group": 4}
    return {"width": width, "max_width": max_width, "filter": options["filter"], **statistics}


def _discriminator_weights(found: _Tensors, data: DataSpec, options: dict[str, Any]) -> dict[str, Tensor]:
    weights = WeightsFor(StyleGAN2Discriminator(data, **options))

    def put(name: str, source: str, bias: str) -> None:
        weights.put_layer(name, _GAIN * found.scaled(f"{source}.weight"), _GAIN * found.get(bias), source)

    put("layers.0", "convs.0.0", "convs.0.1.bias")
    for level in range(int(math.log2(data.shape[1])) - 2):
        name, source = f"layers.{level + 2}", f"convs.{level + 1}"
        put(f"{name}.main.0", f"{source}.conv1.0", f"{source}.conv1.1.bias")
        put(f"{name}.main.3", f"{source}.conv2.1", f"{source}.conv2.2.bias")
        weights.put_layer(f"{name}.skip.1", 2**-0.5 * found.scaled(f"{source}.skip.1.weight"), None, source)
    put("judge.0", "final_conv.0", "final_conv.1.bias")
    put("judge.3", "final_linear.0", "final_linear.0.bias")
    _put_affine(weights, "judge.5", found, "final_linear.1")
    return weights.finish()
