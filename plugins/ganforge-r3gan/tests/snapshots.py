"""Small pickles in the form of R3GAN's snapshots, and what their networks compute in float64, by names and shapes."""

import pickle
import sys
from itertools import pairwise
from types import ModuleType

import torch
from torch.nn import Parameter
from torch.nn.functional import conv2d, pad

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


class Module:
    """A module: its class, tensors and modules."""

    def __init__(self, kind, tensors=(), **modules):
        self.kind, self.tensors, self.modules = kind, dict(tensors), modules

    def __getitem__(self, path):
        """A tensor in float64, such as ``"Layers.0.weight"``."""
        *parts, name = path.split(".")
        found = self
        for each in parts:
            found = found.modules[each]
        return found.tensors[name].double()


def _build(module, stubs, built):
    """Return an object of a class of the name that pickles as a module of torch does."""
    if not isinstance(module, Module) or id(module) in built:
        return built.get(id(module), module)
    place, name = module.kind.rsplit(".", 1)
    stub = stubs.setdefault(place, ModuleType(place))
    if not hasattr(stub, name):
        setattr(stub, name, type(name, (), {"__module__": place}))
    made = built[id(module)] = getattr(stub, name)()
    parameters = {key: Parameter(each) for key, each in module.tensors.items() if key != "Kernel"}
    made.__dict__.update(
        training=False,
        _parameters=parameters,
        _buffers={key: each for key, each in module.tensors.items() if key not in parameters},
        _modules={key: _build(each, stubs, built) for key, each in module.modules.items()},
        DataType=torch.bfloat16,
    )
    return made


def write(path, **content):
    """Write a snapshot, of classes that do not exist when it is read."""
    stubs, built = {name: ModuleType(name) for name in ("R3GAN", "training")}, {}
    networks = {name: _build(each, stubs, built) for name, each in content.items()}
    sys.modules.update(stubs)
    try:
        path.write_bytes(pickle.dumps({**networks, "augment_pipe": None, "training_set_kwargs": {"path": "x"}}, 4))
    finally:
        for name in stubs:
            del sys.modules[name]
    return path


def layer(kind, *shape):
    return Module(kind, {"weight": torch.randn(shape) / shape[1] ** 0.5})


def convolution(*shape):
    return Module("R3GAN.Networks.Convolution", Layer=layer("R3GAN.Networks.Conv2d", *shape))


def numbered(modules):
    return Module("R3GAN.Networks.ModuleList", **{str(index): each for index, each in enumerate(modules)})


def block(channels, expansion, group):
    inner = channels * expansion
    first, second = (Module("R3GAN.FusedOperators.BiasedActivation", {"Bias": torch.randn(inner)}) for _ in range(2))
    return Module(
        "R3GAN.Networks.ResidualBlock",
        LinearLayer1=convolution(inner, channels, 1, 1), LinearLayer2=convolution(inner, group, 3, 3),
        LinearLayer3=convolution(channels, inner, 1, 1), NonLinearity1=first, NonLinearity2=second,
    )  # fmt: skip


def transition(before, after):
    linear = {} if before == after else {"LinearLayer": convolution(after, before, 1, 1)}
    resampler = Module("R3GAN.Resamplers.Resampler", {"Kernel": torch.outer(TAPS, TAPS)})
    return Module("R3GAN.Networks.Transition", Resampler=resampler, **linear)


def stage(layers):
    return Module("R3GAN.Networks.Stage", Layers=numbered(layers))


def wrapped(**modules):
    return Module("training.networks.Network", Model=Module("R3GAN.Networks.Network", **modules))


def generator(widths=(8, 8, 8, 4), *, blocks=2, expansion=2, group=4, z_dim=5, classes=0, embedding=3, colors=3):
    """A generator with maps of these widths, from the smallest."""
    inputs = z_dim + (embedding if classes else 0)
    basis = Module("R3GAN.Networks.Basis", {"Basis": torch.randn(widths[0], 4, 4)})
    basis.modules["LinearLayer"] = layer("R3GAN.Networks.Linear", widths[0], inputs)
    firsts = [basis, *(transition(before, after) for before, after in pairwise(widths))]
    stages = [
        stage([first, *(block(count, expansion, group) for _ in range(blocks))])
        for first, count in zip(firsts, widths, strict=True)
    ]
    labels = {"EmbeddingLayer": layer("R3GAN.Networks.Linear", embedding, classes)} if classes else {}
    return wrapped(MainLayers=numbered(stages), AggregationLayer=convolution(colors, widths[-1], 1, 1), **labels)


def discriminator(widths=(8, 8, 8, 4), *, blocks=2, expansion=2, group=4, classes=0, embedding=3, colors=3):
    """A discriminator with maps of these widths, from the smallest."""
    widths = widths[::-1]
    basis = Module("R3GAN.Networks.Basis")
    basis.modules["Basis"] = layer("R3GAN.Networks.Conv2d", widths[-1], 1, 4, 4)
    basis.modules["LinearLayer"] = layer("R3GAN.Networks.Linear", embedding if classes else 1, widths[-1])
    lasts = [*(transition(before, after) for before, after in pairwise(widths)), basis]
    stages = [
        stage([*(block(count, expansion, group) for _ in range(blocks)), last])
        for last, count in zip(lasts, widths, strict=True)
    ]
    labels = {"EmbeddingLayer": layer("R3GAN.Networks.Linear", embedding, classes)} if classes else {}
    return wrapped(MainLayers=numbered(stages), ExtractionLayer=convolution(widths[0], colors, 1, 1), **labels)


# What the networks compute.


def run_block(found, x):
    def act(y, bias):
        y = y + bias[:, None, None]
        return torch.where(y > 0, y, 0.2 * y)

    y = act(conv2d(x, found["LinearLayer1.Layer.weight"]), found["NonLinearity1.Bias"])
    kernel = found["LinearLayer2.Layer.weight"]
    width = kernel.shape[1]
    groups = zip(y.split(width, 1), kernel.split(width, 0), strict=True)
    y = torch.cat([conv2d(maps, each, padding=1) for maps, each in groups], 1)
    return x + conv2d(act(y, found["NonLinearity2.Bias"]), found["LinearLayer3.Layer.weight"])


def filter_maps(x, gain):
    """Convolve each map with the filter."""
    kernel = gain * torch.outer(TAPS, TAPS).double()
    return torch.cat([conv2d(each[:, None], kernel[None, None]) for each in x.unbind(1)], 1)


def widen(x):
    """Zeros between and around pixels, then the filter: sizes double."""
    count, channels, height, width = x.shape
    wide = x.new_zeros(count, channels, 2 * height, 2 * width)
    wide[:, :, ::2, ::2] = x
    return filter_maps(pad(wide, (2, 1, 2, 1)), 4)


def narrow(x):
    """Zeros around, the filter, then every second pixel."""
    return filter_maps(pad(x, (1, 1, 1, 1)), 1)[:, :, ::2, ::2]


def draw(network, z, labels=None):
    """Return images of latents and one-hot labels."""
    model = network.modules["Model"]
    if labels is not None:
        z = torch.cat([z, labels @ model["EmbeddingLayer.weight"].T], 1)
    x = z
    for index, each in enumerate(model.modules["MainLayers"].modules.values()):
        first, *blocks = each.modules["Layers"].modules.values()
        if index == 0:
            x = (z @ first["LinearLayer.weight"].T)[:, :, None, None] * first["Basis"]
        else:
            x = conv2d(x, first["LinearLayer.Layer.weight"]) if "LinearLayer" in first.modules else x
            x = widen(x)
        for each_block in blocks:
            x = run_block(each_block, x)
    return conv2d(x, model["AggregationLayer.Layer.weight"])


def judge(network, images, labels=None):
    """Return logits of images with one-hot labels."""
    model = network.modules["Model"]
    x = conv2d(images, model["ExtractionLayer.Layer.weight"])
    for each in model.modules["MainLayers"].modules.values():
        *blocks, last = each.modules["Layers"].modules.values()
        for each_block in blocks:
            x = run_block(each_block, x)
        if "Basis" in last.modules:
            x = (x * last["Basis.weight"][:, 0]).sum((2, 3)) @ last["LinearLayer.weight"].T
        else:
            x = narrow(x)
            x = conv2d(x, last["LinearLayer.Layer.weight"]) if "LinearLayer" in last.modules else x
    if labels is not None:
        return (x * (labels @ model["EmbeddingLayer.weight"].T)).sum(1)
    return x[:, 0]
