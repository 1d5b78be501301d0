"""Checks for plugin authors: each raises ``AssertionError`` with a message that says what to change.

Use them in a test of your package::

    from ganforge.testing import check_loss
    from my_package import MyLoss

    def test_loss() -> None:
        check_loss(MyLoss)

Each check takes a class, and as keywords its options that differ from the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ganforge.contract.capabilities import ExtraOutputs, Growing
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import ClassifierDiscriminator, Discriminator, FeatureDiscriminator, Generator
from ganforge.data.packer import pack
from ganforge.data.store import PackedData
from ganforge.export.torchscript import TorchScriptExporter
from ganforge.sampling import stand_in_labels
from ganforge.testing.aligners import check_aligner
from ganforge.testing.commands import check_command
from ganforge.testing.emulation.checks import check_cuda
from ganforge.testing.exports import check_export, verify_export
from ganforge.testing.extractors import check_extractor
from ganforge.testing.importers import check_importer
from ganforge.testing.metrics import check_metric
from ganforge.testing.objectives import check_augmentation, check_loss, check_regularizer
from ganforge.testing.optimizers import check_optimizer
from ganforge.testing.others import check_callback, check_exporter, check_logger, check_recipe
from ganforge.testing.requirements import IMAGES, require, require_finite, require_options

_Network = TypeVar("_Network", bound=nn.Module)

__all__ = [
    "IMAGES",
    "check_aligner",
    "check_augmentation",
    "check_callback",
    "check_command",
    "check_cuda",
    "check_dataset",
    "check_discriminator",
    "check_export",
    "check_exporter",
    "check_extractor",
    "check_generator",
    "check_importer",
    "check_logger",
    "check_loss",
    "check_metric",
    "check_optimizer",
    "check_recipe",
    "check_regularizer",
]


def check_generator(
    factory: Callable[..., Generator],
    data: DataSpec = IMAGES,
    *,
    only_regularized: Sequence[str] = (),
    **options: Any,
) -> None:
    """Check a generator: shapes, range, extra outputs, gradients, independence of samples, repeatability, export.

    A growing generator is checked in all its phases; from the repeatability on in the last. `only_regularized` holds
    prefixes of parameters that only regularizers use.
    """
    require_options(factory, options)
    network = _make(factory, data, options)
    z, labels = torch.randn(4, network.z_dim), stand_in_labels(4, data)

    expected = (4, *data.shape)
    for _ in _phases(network):
        output = network(z, labels)
        shape = tuple(output.shape)
        require(shape == expected, f"forward returned {shape}; expected {expected} for the data")
        require(output.dtype == torch.float32, f"forward returned {output.dtype}; it must keep float32")
        require_finite("forward", output)
        if data.is_image:
            require(output.abs().max().item() <= 1, "images must be in [-1, 1]: end in tanh, or clip")
        judged = output.square().sum()
        if isinstance(network, ExtraOutputs):
            judged = judged + sum(each.square().sum() for each in _check_extras(network, z, labels))
        judged.backward()
    _check_gradients(network, only_regularized)

    network.eval()
    with torch.no_grad():
        together = network(z, labels)
        alone = torch.cat([network(z[i : i + 1], None if labels is None else labels[i : i + 1]) for i in range(4)])
        require(
            torch.allclose(together, alone, atol=1e-4),
            "in evaluation mode a sample depends on the others of its batch: freeze batch statistics",
        )
        if isinstance(network, ExtraOutputs):
            same = torch.allclose(network.outputs(z, labels)[0], together, atol=1e-4)
            require(same, "in evaluation mode forward must return the first of outputs")
    _check_repeatability(network, factory(data, **options), z, labels)
    verify_export(network, data, TorchScriptExporter())


def check_discriminator(
    factory: Callable[..., Discriminator],
    data: DataSpec = IMAGES,
    *,
    only_regularized: Sequence[str] = (),
    **options: Any,
) -> None:
    """Check a discriminator: shape, gradients to all parameters and to images, double backward, features.

    A growing discriminator is checked in all its phases; from the double backward on in the last. `only_regularized`
    holds prefixes of parameters that only regularizers use.
    """
    require_options(factory, options)
    network = _make(factory, data, options)
    images, labels = torch.randn(4, *data.shape).clamp(-1, 1), stand_in_labels(4, data)
    for _ in _phases(network):
        logits = network(images, labels)
        require(logits.dim() == 1, f"forward returned {tuple(logits.shape)}; it must return logits [N]: flatten them")
        require_finite("forward", logits)
        judged = logits.square().sum()
        scores = _scores(network, images, labels)
        if scores is not None:
            shape, expected = tuple(scores.shape), (4, data.num_classes or len(data.numbers))
            require(shape == expected, f"classify returned {shape}; it must be {expected}")
            judged = judged + scores.square().sum()
        judged.backward()
    _check_gradients(network, only_regularized)

    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf, labels).sum(), leaf, create_graph=True)
    require_finite("the gradient with respect to the images", gradient)
    gradient.square().sum().backward()  # type: ignore[no-untyped-call]
    moved = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    require(bool(moved), "a gradient penalty reaches no parameter: the network does not support double backward")
    for each in moved:
        require_finite("the double backward", each)

    _check_repeatability(network, factory(data, **options), images, labels)
    if isinstance(network, FeatureDiscriminator):
        with torch.no_grad():
            features = network.features(images, labels)
            require(features.dim() == 2, f"features returned {tuple(features.shape)}; it must return [N, F]")
            same = torch.equal(network.head(features, labels), network(images, labels))
            require(same, "forward must be head(features): leave forward to FeatureDiscriminator")


def check_dataset(factory: Callable[..., Any], **options: Any) -> PackedData:
    """Check a data set, small by its options: length, repeatability; return the packed data."""
    require_options(factory, options)
    dataset = factory(**options)
    require(len(dataset) > 0, "the data set is empty")
    first, again = (pack(dataset, "checked", title=getattr(factory, "__name__", "it")) for _ in range(2))
    require(
        first.fingerprint == again.fingerprint, "reading it twice gave different examples: use a fixed seed per index"
    )
    return first


def _make(factory: Callable[..., _Network], data: DataSpec, options: dict[str, Any]) -> _Network:
    """Construct a network, and require that the same seed gives equal weights."""
    torch.manual_seed(0)
    network = factory(data, **options)
    torch.manual_seed(0)
    again = factory(data, **options).state_dict()
    same = all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
    require(same, "the same seed gave other weights: use only torch's random numbers")
    torch.manual_seed(0)
    return network


def _scores(network: Discriminator, images: Tensor, labels: Tensor | None) -> Tensor | None:
    """Return the class scores, if the discriminator has a classifier."""
    if not isinstance(network, ClassifierDiscriminator):
        return None
    try:
        return network.classify(network.features(images, labels))
    except OptionError:
        return None


def _check_extras(network: ExtraOutputs, z: Tensor, labels: Tensor | None) -> list[Tensor]:
    """Return the extra outputs; require that they fit those of given examples."""
    images, *extras = network.outputs(z, labels)
    require(bool(extras), "outputs returned no extra outputs: derive the network from Generator")
    found = network.extras_of(images.detach(), labels)
    made, shapes = [tuple(each.shape) for each in extras], [tuple(each.shape) for each in found]
    require(made == shapes, f"extra outputs are {made}, but extras_of returned {shapes}")
    for each in (*extras, *found):
        require_finite("an extra output", each)
    return extras


def _phases(network: nn.Module) -> Iterator[None]:
    """Iterate over the phases of a growing network; others have one."""
    for images in network.phases() if isinstance(network, Growing) else (0,):
        if isinstance(network, Growing):
            network.grow(images)
        yield


@torch.no_grad()
def _check_repeatability(network: nn.Module, twin: nn.Module, inputs: Tensor, labels: Tensor | None) -> None:
    output = network.eval()(inputs, labels)
    same = torch.equal(output, network(inputs, labels))
    require(same, "in evaluation mode the same inputs must give the same outputs")
    twin.load_state_dict(network.state_dict())
    require(
        torch.equal(output, twin.eval()(inputs, labels)),
        "a copy with the same state_dict gives a different result: keep all state in parameters and buffers",
    )


def _check_gradients(network: nn.Module, only_regularized: Sequence[str]) -> None:
    """Require a gradient for every trained parameter, except for those that only regularizers use."""
    for name, parameter in network.named_parameters():
        if parameter.grad is None:
            excused = not parameter.requires_grad or name.startswith(tuple(only_regularized))
            require(
                excused,
                f"parameter {name} gets no gradient from forward: remove it, freeze it with requires_grad_(False), or, "
                f"if only a regularizer uses it, give only_regularized=['{name}']",
            )
        else:
            require_finite(f"the gradient of parameter {name}", parameter.grad)
    network.zero_grad()
