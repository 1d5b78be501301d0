"""Importer of StyleGAN2-ADA's networks (Karras 2020, arXiv:2006.06676), from pickles of its PyTorch version.

Architecture and options are read from the state of the modules. Gains that the published networks apply after an
activation are in the weights before it: leaky ReLU is homogeneous.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge import CheckpointError, DataSpec, Imported, Importer, PickledFile, read_pickle
from ganforge.builtin.pickled_modules import PickledModule, WeightsFor, find_taps, find_widths
from ganforge.builtin.state_dicts import reading
from ganforge.builtin.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ganforge.builtin.stylegan_layers import NOISE_SPEED

_GAIN = 2**0.5
_EXPECTED = ("torch.", "numpy.", "collections.", "torch_utils.", "dnnlib.", "training.", "builtins.", "_codecs.")
"""Beginnings of names that such a file has."""

_START = 1 << 16
"""Bytes at the start of a file, in which its first network begins."""

_MODULES = (b"torch_utils.persistence", b"dnnlib.tflib")
"""Modules of the functions that rebuild networks."""

_TENSORFLOW = "dnnlib.tflib.network.Network"


class StyleGAN2ADA(Importer):
    """Networks of StyleGAN2-ADA's PyTorch version, as a pickle: generator, discriminator and EMA."""

    def recognizes(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(_START)
        return any(each in start for each in _MODULES)

    def read(self, path: Path) -> Imported:
        found = read_pickle(path)
        with reading(path):
            return _convert(found)


def _convert(found: PickledFile) -> Imported:
    if _TENSORFLOW in found.names:
        raise CheckpointError(
            "networks of TensorFlow are unsupported", "convert the file to StyleGAN2-ADA's PyTorch form"
        )
    content = found.content if isinstance(found.content, dict) else {}
    if "G_ema" not in content:
        raise CheckpointError("no network G_ema in this pickle")
    ema = PickledModule(content.get("G_ema"), "G_ema")
    data, options = _describe_generator(ema)
    weights = _generator_weights(ema, data, options)
    players: dict[str, Mapping[str, Tensor]] = {}
    settings: dict[str, Any] = {"recipe": "stylegan2"}
    notes = []
    modules = [ema]
    if content.get("D") is not None:
        discriminator = PickledModule(content["D"], "D")
        modules.append(discriminator)
        judged = _describe_discriminator(discriminator, data)
        settings["discriminator"] = {"name": "stylegan2", **judged}
        players["discriminator"] = _discriminator_weights(discriminator, data, judged)
        trained = ema
        if content.get("G") is not None:
            trained = PickledModule(content["G"], "G")
            if _describe_generator(trained) != (data, options):
                raise CheckpointError("G and G_ema have different architectures")
        players["generator"] = _generator_weights(trained, data, options)
    else:
        notes.append("the file has no discriminator D; --init-from starts with a new one")
    if any(each.value("use_fp16") for module in modules for each in module.children()):
        notes.append("mixed precision is not imported; the networks compute in the precision of the run")
    if content.get("augment_pipe") is not None:
        notes.append("the augmentation pipeline is not imported; --augment ada adds one")
    if data.class_names:
        notes.append(f"labels are classes 0 to {len(data.class_names) - 1}; the file has no names of them")
    foreign = sorted(each for each in found.names if not each.startswith(_EXPECTED))
    if foreign:
        told = ascii(", ".join(foreign[:3]))[1:-1]
        notes.append(f"the file names {told}, which its form does not need; nothing was called")
    return Imported(
        generator="stylegan2",
        options=options,
        data=data,
        weights=weights,
        players=players,
        settings=settings,
        source={"format": "StyleGAN2-ADA, PyTorch"},
        notes=tuple(notes),
    )


def _describe_generator(module: PickledModule) -> tuple[DataSpec, dict[str, Any]]:
    """Return the specification of the images and the options of a generator."""
    mapping, synthesis = module.child("mapping"), module.child("synthesis")
    if "input" in synthesis.names():
        raise CheckpointError(
            "StyleGAN3 is unsupported: Fourier features as input, and filtered activations, are not implemented",
            "import a StyleGAN2-ADA file",
        )
    resolution, num_classes = synthesis.count("img_resolution"), module.count("c_dim")
    sizes = _sizes(resolution)
    blocks = [synthesis.child(f"b{size}") for size in sizes]
    width, max_width = find_widths([_count_channels(each.child("conv1")) for each in blocks[::-1]])
    z_dim, w_dim, num_layers = module.count("z_dim"), module.count("w_dim"), mapping.count("num_layers")
    if z_dim < 1:
        raise CheckpointError("a generator without latents is unsupported")
    embedding = _require_mapping(mapping, z_dim, num_classes, w_dim, num_layers)
    colors = synthesis.count("img_channels")
    blocks[-1].child("torgb").require_shape("weight", colors, width, 1, 1)
    names = tuple(map(str, range(num_classes)))
    data = DataSpec((colors, resolution, resolution), names)
    return data, {
        "z_dim": z_dim,
        "w_dim": w_dim,
        "width": width,
        "max_width": max_width,
        "mapping_layers": num_layers,
        "conditioning": "input" if num_classes else "none",
        "embedding": 0 if embedding in (0, z_dim) else embedding,
        "architecture": _same(blocks[1:], "architecture", ("orig", "skip", "resnet")),
        **_find_filter_and_clamp(synthesis),
        "output": "linear",
    }


def _describe_discriminator(module: PickledModule, data: DataSpec) -> dict[str, Any]:
    """Return the options of a discriminator."""
    sizes = _sizes(data.shape[1])
    if module.count("img_resolution") != sizes[-1] or module.count("c_dim") != data.num_classes:
        raise CheckpointError("D judges other images than G_ema generates")
    blocks = [module.child(f"b{size}") for size in sizes]
    width, max_width = find_widths(
        [
            *(_count_channels(each.child("conv0")) for each in blocks[:0:-1]),
            sum(blocks[0].child("conv").shape("weight")[:1]),
        ]
    )
    smallest = min(width << len(sizes) - 1, max_width)
    described: dict[str, Any] = {
        "width": width,
        "max_width": max_width,
        "minibatch": "none",
        "architecture": _same(blocks, "architecture", ("orig", "skip", "resnet")),
        **_find_filter_and_clamp(module),
    }
    if "mbstd" in blocks[0].names():
        statistics = blocks[0].child("mbstd")
        statistics.require("num_channels", 1)
        group = 0 if statistics.value("group_size") is None else statistics.count("group_size")
        described |= {"minibatch": "deviation", "group": group}
    if data.num_classes:
        mapping = module.child("mapping")
        num_layers = mapping.count("num_layers")
        vector = _require_mapping(mapping, 0, data.num_classes, mapping.count("w_dim"), num_layers)
        described |= {
            "conditioning": "mapping",
            "mapping_layers": num_layers,
            "mapping_width": 0 if vector == smallest else vector,
        }
    return described


def _require_mapping(mapping: PickledModule, z_dim: int, num_classes: int, w_dim: int, num_layers: int) -> int:
    """Raise CheckpointError unless the layers of a mapping network fit; return the length of embeddings, or 0.

    Networks are built only of sizes that the tensors of the file have.
    """
    embedding = sum(mapping.child("embed").shape("weight")[:1]) if num_classes else 0
    if num_classes:
        mapping.child("embed").require_shape("weight", embedding, num_classes)
    for index in range(num_layers):
        mapping.child(f"fc{index}").require_shape("weight", w_dim, w_dim if index else z_dim + embedding)
    return embedding


def _count_channels(layer: PickledModule) -> int:
    """Return the channels of a convolution between as many maps."""
    channels = sum(layer.shape("weight")[:1])
    layer.require_shape("weight", channels, channels, 3, 3)
    return channels


def _sizes(resolution: int) -> list[int]:
    """Return the sizes of the maps, from 4 up to the resolution."""
    sizes = [4 << level for level in range(9)]
    if resolution not in sizes[1:]:
        raise CheckpointError(f"images of {resolution} pixels are unsupported", "the resolutions are 8, 16, ... 1024")
    return sizes[: sizes.index(resolution) + 1]


def _same(modules: list[PickledModule], name: str, known: tuple[str, ...]) -> str:
    """Return an attribute that all modules share."""
    found = str(modules[0].value(name))[:40]
    if found not in known:
        raise CheckpointError(f"{modules[0].name}: {name} {found!r} is unsupported", f"known: {', '.join(known)}")
    for each in modules:
        each.require(name, found)
    return found


def _find_filter_and_clamp(module: PickledModule) -> dict[str, Any]:
    """Return the filter and the limit of activations that all layers of a network share."""
    layers = [each for each in module.children() if each.shape("resample_filter")]
    if not layers:
        raise CheckpointError(f"{module.name} has no filter")
    taps = {find_taps(each) for each in layers}
    limits = {each.value("conv_clamp") for each in module.children() if "conv_clamp" in each.attributes()} - {None}
    unlimited = [
        each.name
        for each in module.children()
        if each.shape("bias") and "conv_clamp" in each.attributes() and each.value("conv_clamp") is None
    ]
    if len(taps) != 1 or len(limits) > 1 or (limits and unlimited):
        raise CheckpointError(f"{module.name}: layers with different filters or limits are unsupported")
    clamp = limits.pop() if limits else None
    if not (clamp is None or isinstance(clamp, int | float)):
        raise CheckpointError(f"{module.name}: conv_clamp is no number")
    return {"filter": taps.pop(), "clamp": None if clamp is None else float(clamp)}


def _generator_weights(module: PickledModule, data: DataSpec, options: dict[str, Any]) -> dict[str, Tensor]:
    weights = WeightsFor(StyleGAN2Generator(data, **options))
    mapping, synthesis = module.child("mapping"), module.child("synthesis")
    _put_mapping(weights, "mapper", mapping, options["mapping_layers"], data.num_classes)
    weights.put("mapper.mean", mapping.tensor("w_avg"), "G.mapping.w_avg")
    weights.put("mapper.num_batches", torch.tensor(1000), "")  # further training moves the mean slowly
    sizes, residual = _sizes(data.shape[1]), options["architecture"] == "resnet"
    weights.put("constant", synthesis.child("b4").tensor("const")[None], "G.synthesis.b4.const")
    index, colors = 0, list[Tensor]()
    for level, size in enumerate(sizes):
        block = synthesis.child(f"b{size}")
        for name in ("conv0", "conv1") if level else ("conv1",):
            _put_styled(weights, f"layers.{index}", block.child(name), up=2 if name == "conv0" else 1)
            index += 1
        if residual and level:
            gain = 1.0 if level == 1 else 2**-0.5
            skip = block.child("skip")
            _require_layer(skip, "linear")
            weights.put_layer(f"skips.{index - 1}.0", gain * _effective(skip), None, skip.name)
        if options["architecture"] == "skip" or size == sizes[-1]:
            pixels = block.child("torgb")
            name = f"to_pixels.{len(colors)}"
            _put_affine(weights, f"{name}.affine", pixels.child("affine"))
            kernel = _effective(pixels) * (1.0 if residual else _GAIN)
            weights.put_layer(f"{name}.convolution", kernel, None, pixels.name)
            colors.append(pixels.tensor("bias")[:, None, None])
    weights.put("color", torch.stack(colors), "G.synthesis: biases of pixels")
    return weights.finish()


def _put_styled(weights: WeightsFor, name: str, layer: PickledModule, up: int) -> None:
    layer.require("activation", "lrelu")
    layer.require("up", up)
    layer.require("padding", 1)
    if abs(layer.number("act_gain") - _GAIN) > 1e-6:
        raise CheckpointError(f"{layer.name}: an act_gain other than sqrt(2) is unsupported")
    _put_affine(weights, f"{name}.convolution.affine", layer.child("affine"))
    weights.put(f"{name}.convolution.convolution.weight", layer.tensor("weight"), layer.name)
    bias = layer.tensor("bias")[:, None, None]
    size = (1, 1, layer.count("resolution"), layer.count("resolution"))
    strength, fixed = torch.zeros((), dtype=torch.float64), torch.zeros(()).expand(size)
    if layer.value("use_noise"):
        strength, fixed = layer.tensor("noise_strength"), layer.tensor("noise_const")[None, None]
    weights.put(f"{name}.noise.strength", (strength / NOISE_SPEED).expand(bias.shape), layer.name)
    weights.put(f"{name}.noise.fixed", fixed, layer.name)
    weights.put(f"{name}.bias", bias, layer.name)


def _put_affine(weights: WeightsFor, name: str, layer: PickledModule) -> None:
    layer.require("activation", "linear")
    weights.put_layer(name, _effective(layer), layer.tensor("bias") * layer.number("bias_gain"), layer.name)


def _put_mapping(weights: WeightsFor, name: str, mapping: PickledModule, num_layers: int, num_classes: int) -> None:
    if num_classes:
        embed = mapping.child("embed")
        embed.require("activation", "linear")
        table = _effective(embed).T + embed.tensor("bias") * embed.number("bias_gain")
        weights.put(f"{name}.embedding.weight", table, embed.name)
    for index in range(num_layers):
        _put_activated(weights, f"{name}.layers.{2 * index}", mapping.child(f"fc{index}"))


def _put_activated(weights: WeightsFor, name: str, layer: PickledModule) -> None:
    """Set a fully connected layer with leaky ReLU."""
    layer.require("activation", "lrelu")
    bias = layer.tensor("bias") * layer.number("bias_gain")
    weights.put_layer(name, _GAIN * _effective(layer), _GAIN * bias, layer.name)


def _put_convolution(weights: WeightsFor, name: str, layer: PickledModule, down: int = 1) -> None:
    """Set a convolution with leaky ReLU."""
    _require_layer(layer, "lrelu", down)
    gain = layer.number("act_gain")
    weights.put_layer(name, gain * _effective(layer), gain * layer.tensor("bias"), layer.name)


def _require_layer(layer: PickledModule, activation: str, down: int = 1) -> None:
    layer.require("activation", activation)
    layer.require("down", down)


def _effective(layer: PickledModule) -> Tensor:
    """Return the weight that a layer computes with."""
    return layer.tensor("weight") * layer.number("weight_gain")


def _discriminator_weights(module: PickledModule, data: DataSpec, options: dict[str, Any]) -> dict[str, Tensor]:
    weights = WeightsFor(StyleGAN2Discriminator(data, **options))
    sizes, architecture = _sizes(data.shape[1])[::-1], options["architecture"]
    _put_convolution(weights, "layers.0", module.child(f"b{sizes[0]}").child("fromrgb"))
    for level, size in enumerate(sizes[:-1]):
        block = module.child(f"b{size}")
        if architecture == "resnet":
            first, second = (f"layers.{level + 2}.main.{index}" for index in (0, 3))
            skip = block.child("skip")
            _require_layer(skip, "linear", down=2)
            weights.put_layer(f"layers.{level + 2}.skip.1", 2**-0.5 * _effective(skip), None, skip.name)
        else:
            first, second = (f"layers.{5 * level + 2 + index}" for index in (0, 3))
        _put_convolution(weights, first, block.child("conv0"))
        _put_convolution(weights, second, block.child("conv1"), down=2)
        if architecture == "skip":
            _put_convolution(weights, f"skips.{level}.0", module.child(f"b{sizes[level + 1]}").child("fromrgb"))
    last = module.child("b4")
    _put_convolution(weights, "judge.0", last.child("conv"))
    _put_activated(weights, "judge.3", last.child("fc"))
    _put_affine(weights, "judge.5", last.child("out"))
    if data.num_classes:
        _put_mapping(weights, "label_mapping", module.child("mapping"), options["mapping_layers"], data.num_classes)
    return weights.finish()
