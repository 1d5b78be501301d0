"""Small pickles in the form of StyleGAN2-ADA's PyTorch version, and what their networks compute, from the papers.

A module is a call of ``torch_utils.persistence._reconstruct_persistent_obj`` with a dict: class name, code, state. The
networks here compute in float64, with plain loops over images and taps.
"""

import math
import pickle
import sys
from types import ModuleType

import numpy
import torch
from torch.nn import Parameter
from torch.nn.functional import conv2d, pad


class Module:
    """A module with parameters, buffers, modules and attributes."""

    def __init__(self, kind, parameters=None, buffers=None, **rest):
        self.kind = kind
        self.parameters = parameters or {}
        self.buffers = buffers or {}
        self.modules = {name: each for name, each in rest.items() if isinstance(each, Module)}
        self.values = {name: each for name, each in rest.items() if name not in self.modules}

    def __getattr__(self, name):
        for found in ("parameters", "buffers", "modules", "values"):
            if name in self.__dict__.get(found, ()):
                value = self.__dict__[found][name]
                return value.double() if isinstance(value, torch.Tensor) else value
        raise AttributeError(name)

    def __reduce__(self):
        parameters = {name: Parameter(each) for name, each in self.parameters.items()}
        state = {"training": False, "_parameters": parameters, "_buffers": self.buffers, "_modules": self.modules}
        state |= {"_non_persistent_buffers_set": set(), "_init_args": (), "_init_kwargs": {}, **self.values}
        meta = {
            "type": "class",
            "version": 6,
            "module_src": "raise SystemExit",
            "class_name": self.kind,
            "state": state,
        }
        return (sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,))


def _reconstruct_persistent_obj(meta):
    raise AssertionError("a module of the file was built")


def write(path, protocol=4, **content):
    """Write a file of networks, such as ``G``, ``D`` and ``G_ema``."""
    stub = ModuleType("torch_utils.persistence")
    stub._reconstruct_persistent_obj = _reconstruct_persistent_obj
    _reconstruct_persistent_obj.__module__ = stub.__name__
    sys.modules.update({"torch_utils": ModuleType("torch_utils"), stub.__name__: stub})
    try:
        path.write_bytes(
            pickle.dumps({**content, "augment_pipe": None, "training_set_kwargs": {"path": "x"}}, protocol)
        )
    finally:
        del sys.modules["torch_utils"], sys.modules[stub.__name__]
    return path


def normal(*shape):
    return torch.randn(shape)


def make_filter(taps):
    taps = torch.tensor(taps, dtype=torch.float32)
    taps = taps if len(taps) >= 8 else torch.outer(taps, taps)
    return taps / taps.sum()


def linear(inputs, outputs, activation="linear", speed=1.0, start=0.0):
    return Module(
        "FullyConnectedLayer",
        {"weight": normal(outputs, inputs) / speed, "bias": start + 0.3 * normal(outputs) / speed},
        activation=activation, weight_gain=speed / numpy.sqrt(inputs), bias_gain=speed,
    )  # fmt: skip


def convolution(inputs, outputs, size, taps, *, clamp=None, down=1, up=1, activation="lrelu", bias=True):
    parameters = {"weight": normal(outputs, inputs, size, size)} | ({"bias": 0.3 * normal(outputs)} if bias else {})
    return Module(
        "Conv2dLayer", parameters, {"resample_filter": make_filter(taps)}, activation=activation, up=up, down=down,
        conv_clamp=clamp, padding=size // 2, weight_gain=1 / numpy.sqrt(inputs * size**2),
        act_gain=numpy.sqrt(2) if activation == "lrelu" else 1,
        **({} if bias else {"bias": None}),
    )  # fmt: skip


def mapping(z_dim, c_dim, w_dim, num_layers, embedding, num_ws):
    modules = {"embed": linear(c_dim, embedding)} if c_dim else {}
    sizes = [z_dim + (embedding if c_dim else 0)] + [w_dim] * num_layers
    for index in range(num_layers):
        modules[f"fc{index}"] = linear(sizes[index], w_dim, "lrelu", 0.01)
    buffers = {} if num_ws is None else {"w_avg": normal(w_dim)}
    return Module(
        "MappingNetwork", {}, buffers, z_dim=z_dim, c_dim=c_dim, w_dim=w_dim, num_layers=num_layers, num_ws=num_ws,
        w_avg_beta=0.995, **modules,
    )  # fmt: skip


def styled(inputs, outputs, resolution, w_dim, taps, clamp, up):
    return Module(
        "SynthesisLayer",
        {"weight": normal(outputs, inputs, 3, 3), "noise_strength": normal(), "bias": 0.3 * normal(outputs)},
        {"resample_filter": make_filter(taps), "noise_const": normal(resolution, resolution)},
        affine=linear(w_dim, inputs, start=1.0), resolution=resolution, up=up, use_noise=True, activation="lrelu",
        conv_clamp=clamp, padding=1, act_gain=numpy.sqrt(2),
    )  # fmt: skip


def channels_of(resolution, width, most):
    return {
        size: min(width * resolution // size, most) for size in (4 << level for level in range(9)) if size <= resolution
    }


def generator(
    *, resolution=16, colors=3, z_dim=5, c_dim=0, w_dim=6, width=4, most=6, num_layers=2, embedding=None,
    architecture="skip", taps=(1, 3, 3, 1), clamp=None, fp16=False,
):  # fmt: skip
    channels = channels_of(resolution, width, most)
    num_ws, blocks, before = 2 * len(channels), {}, 0
    for size, count in channels.items():
        layers = {"conv0": styled(before, count, size, w_dim, taps, clamp, 2)} if before else {}
        layers["conv1"] = styled(count, count, size, w_dim, taps, clamp, 1)
        if architecture == "skip" or size == resolution:
            layers["torgb"] = Module(
                "ToRGBLayer", {"weight": normal(colors, count, 1, 1), "bias": normal(colors)}, conv_clamp=clamp,
                weight_gain=1 / numpy.sqrt(count), affine=linear(w_dim, count, start=1.0),
            )  # fmt: skip
        if architecture == "resnet" and before:
            layers["skip"] = convolution(before, count, 1, taps, up=2, activation="linear", bias=False)
        blocks[f"b{size}"] = Module(
            "SynthesisBlock", {} if before else {"const": normal(count, 4, 4)}, {"resample_filter": make_filter(taps)},
            in_channels=before, resolution=size, architecture=architecture, use_fp16=fp16 and size > 8, **layers,
        )  # fmt: skip
        before = count
    synthesis = Module(
        "SynthesisNetwork", w_dim=w_dim, img_resolution=resolution, img_channels=colors, num_ws=num_ws, **blocks
    )
    return Module(
        "Generator", z_dim=z_dim, c_dim=c_dim, w_dim=w_dim, img_resolution=resolution, img_channels=colors,
        num_ws=num_ws, synthesis=synthesis,
        mapping=mapping(z_dim, c_dim, w_dim, num_layers, embedding or w_dim, num_ws),
    )  # fmt: skip


def discriminator(
    *, resolution=16, colors=3, c_dim=0, width=4, most=6, num_layers=2, vector=None, architecture="resnet",
    taps=(1, 3, 3, 1), clamp=None, group=4, statistics=1,
):  # fmt: skip
    channels, modules = channels_of(resolution, width, most), {}
    last, vector = channels[4], (vector or channels[4]) if c_dim else 0
    for size in sorted(channels, reverse=True)[:-1]:
        count, after = channels[size], channels[size // 2]
        layers = {
            "conv0": convolution(count, count, 3, taps, clamp=clamp),
            "conv1": convolution(count, after, 3, taps, clamp=clamp, down=2),
        }
        if architecture == "skip" or size == resolution:
            layers["fromrgb"] = convolution(colors, count, 1, taps, clamp=clamp)
        if architecture == "resnet":
            layers["skip"] = convolution(count, after, 1, taps, down=2, activation="linear", bias=False)
        modules[f"b{size}"] = Module(
            "DiscriminatorBlock", {}, {"resample_filter": make_filter(taps)}, architecture=architecture,
            resolution=size, use_fp16=False, **layers,
        )  # fmt: skip
    layers = {
        "conv": convolution(last + statistics, last, 3, taps, clamp=clamp),
        "fc": linear(16 * last, last, "lrelu"),
        "out": linear(last, vector or 1),
    }
    if architecture == "skip":
        layers["fromrgb"] = convolution(colors, last, 1, taps, clamp=clamp)
    if statistics:
        layers["mbstd"] = Module("MinibatchStdLayer", group_size=group, num_channels=statistics)
    modules["b4"] = Module(
        "DiscriminatorEpilogue", in_channels=last, cmap_dim=vector, resolution=4, architecture=architecture, **layers
    )
    if c_dim:
        modules["mapping"] = mapping(0, c_dim, vector, num_layers, vector, None)
    return Module("Discriminator", c_dim=c_dim, img_resolution=resolution, img_channels=colors, **modules)


# What the networks compute.


def filter_maps(x, taps, up=1, down=1, around=(0, 0), gain=1.0):
    """Insert zeros after pixels, pad, convolve with the filter, keep every n-th pixel."""
    taps = taps if taps.dim() == 2 else torch.outer(taps, taps)
    count, channels, height, width = x.shape
    wide = x.new_zeros(count, channels, height * up, width * up)
    wide[:, :, ::up, ::up] = x
    wide = pad(wide, (*around, *around))
    return conv2d(wide.flatten(0, 1)[:, None], taps.flip(0, 1)[None, None] * gain).unflatten(0, (count, channels))[
        :, :, 0, ::down, ::down
    ]


def upsample(x, taps):
    return filter_maps(x, taps, up=2, around=((len(taps) + 1) // 2, (len(taps) - 2) // 2), gain=4.0)


def activate(x, clamp, gain=1.0):
    y = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2) * gain
    return y if clamp is None else y.clamp(-clamp * gain, clamp * gain)


def connect(layer, x):
    y = x @ (layer.weight * float(layer.weight_gain)).T + layer.bias * float(layer.bias_gain)
    return activate(y, None) if layer.activation == "lrelu" else y


def unit(x):
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def styles_of(network, z, c=None, truncation=1.0, cutoff=None):
    parts = ([unit(z)] if network.z_dim else []) + ([unit(connect(network.embed, c))] if network.c_dim else [])
    x = torch.cat(parts, 1)
    for index in range(network.num_layers):
        x = connect(getattr(network, f"fc{index}"), x)
    if network.num_ws is None:
        return x
    w = x[:, None].repeat(1, network.num_ws, 1)
    cutoff = network.num_ws if cutoff is None else cutoff
    w[:, :cutoff] = network.w_avg + truncation * (w[:, :cutoff] - network.w_avg)
    return w


def modulate(layer, image, style, demodulate):
    """Convolve one image by the weight of its style."""
    weight = layer.weight * style[None, :, None, None]
    if demodulate:
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if "up" not in layer.values or layer.up == 1:
        return conv2d(image[None], weight, padding=weight.shape[-1] // 2)
    _, height, width = image.shape
    wide = image.new_zeros(1, len(image), 2 * height - 1, 2 * width - 1)
    wide[0, :, ::2, ::2] = image
    full = conv2d(pad(wide, (2, 2, 2, 2)), weight.flip(2, 3))
    taps = layer.resample_filter
    return filter_maps(full, taps, around=((len(taps) + 1) // 2 - 1, (len(taps) - 2) // 2), gain=4.0)


def style_layer(layer, x, w, noise, gain=1.0):
    styles = connect(layer.affine, w)
    y = torch.cat([modulate(layer, image, style, True) for image, style in zip(x, styles, strict=True)])
    if noise:
        y = y + layer.noise_const * layer.noise_strength
    return activate(y + layer.bias[:, None, None], layer.conv_clamp, gain)


def draw(network, w, noise=True):
    """Return images of styles ``[N, L, w_dim]``."""
    image, x, index = None, None, 0
    for block in network.modules.values():
        taps = block.resample_filter
        residual = None
        if block.in_channels:
            if block.architecture == "resnet":
                kernel = block.skip.weight * float(block.skip.weight_gain)
                residual = upsample(conv2d(x, kernel), taps) * math.sqrt(0.5)
            x = style_layer(block.conv0, x, w[:, index], noise)
            index += 1
        else:
            x = block.const.expand(len(w), -1, -1, -1)
        x = style_layer(block.conv1, x, w[:, index], noise, 1.0 if residual is None else math.sqrt(0.5))
        index += 1
        x = x if residual is None else x + residual
        image = None if image is None else upsample(image, taps)
        if "torgb" in block.modules:
            layer = block.torgb
            styles = connect(layer.affine, w[:, index]) * float(layer.weight_gain)
            y = torch.cat([modulate(layer, each, style, False) for each, style in zip(x, styles, strict=True)])
            y = y + layer.bias[:, None, None]
            y = y if layer.conv_clamp is None else y.clamp(-layer.conv_clamp, layer.conv_clamp)
            image = y if image is None else image + y
    return image


def convolve(layer, x, gain=1.0):
    kernel, taps = layer.weight * float(layer.weight_gain), layer.resample_filter
    edge, count = kernel.shape[-1] // 2, len(taps)
    if layer.down == 1:
        y = conv2d(x, kernel, padding=edge)
    else:
        x = filter_maps(x, taps, around=(edge + (count - 1) // 2, edge + (count - 2) // 2))
        y = conv2d(x, kernel, stride=2)
    if layer.activation == "linear":
        return y * gain
    return activate(y + layer.bias[:, None, None], layer.conv_clamp, gain)


def judge(network, images, c=None):
    """Return logits of images."""
    x = None
    for name, block in network.modules.items():
        if name == "mapping":
            continue
        if "fromrgb" in block.modules:
            y = convolve(block.fromrgb, images)
            x = y if x is None else x + y
        if name == "b4":
            break
        taps = block.resample_filter
        if block.architecture == "skip":
            images = filter_maps(images, taps, down=2, around=((len(taps) - 1) // 2, (len(taps) - 2) // 2))
        if block.architecture == "resnet":
            residual = convolve(block.skip, x, math.sqrt(0.5))
            x = convolve(block.conv1, convolve(block.conv0, x), math.sqrt(0.5)) + residual
        else:
            x = convolve(block.conv1, convolve(block.conv0, x))
    if "mbstd" in block.modules:
        size = len(x) if block.mbstd.group_size is None else min(block.mbstd.group_size, len(x))
        spread = torch.zeros(len(x), 1, 4, 4, dtype=x.dtype)
        for index in range(len(x)):
            group = x[index % (len(x) // size) :: len(x) // size]
            spread[index] = ((group - group.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
        x = torch.cat([x, spread], 1)
    x = connect(block.out, connect(block.fc, convolve(block.conv, x).flatten(1)))
    if not network.c_dim:
        return x[:, 0]
    return (x * styles_of(network.mapping, None, c)).sum(1) / math.sqrt(block.cmap_dim)
