"""Checks for authors of plugins: each raises ``AssertionError`` with words that say what to change.

Use them in a test of your package::

    from ganforge.testing import check_loss
    from my_package import MyLoss

    def test_loss() -> None:
        check_loss(MyLoss)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ganforge.capabilities import Growing
from ganforge.data.packer import pack
from ganforge.data.store import PackedData
from ganforge.errors import OptionError
from ganforge.export.torchscript import TorchScriptExporter
from ganforge.interfaces import (
    Augmentation,
    ClassifierDiscriminator,
    DataSpec,
    Discriminator,
    FeatureDiscriminator,
    Generator,
    Loss,
    Pair,
    Regularizer,
    Step,
)
from ganforge.sampling import stand_in_labels
from ganforge.testing.exports import check_export, prove_export
from ganforge.testing.extractors import check_extractor
from ganforge.testing.networks import SmallDiscriminator, SmallGenerator
from ganforge.testing.others import check_exporter, check_logger, check_recipe
from ganforge.testing.requirements import require, require_options

_Network = TypeVar("_Network", bound=nn.Module)

IMAGES = DataSpec((3, 32, 32))
"""What networks are checked on if nothing else is said."""

_CLASSES = DataSpec((3,), ("first", "second", "third"))

__all__ = [
    "IMAGES",
    "check_augmentation",
    "check_dataset",
    "check_discriminator",
    "check_export",
    "check_exporter",
    "check_extractor",
    "check_generator",
    "check_logger",
    "check_loss",
    "check_recipe",
    "check_regularizer",
]


def check_generator(factory: Callable[..., Generator], data: DataSpec = IMAGES, **options: Any) -> None:
    """Check a generator: shapes, range, gradients, independence of samples, repeatability, state, export.

    One that grows is brought through all its phases; from the repeatability on it is checked in the last.

    Args:
        factory: The class.
        data: What it is to generate.
        options: Its options, where the defaults will not do.
    """
    require_options(factory, options)
    network = _make(factory, data, options)
    z, labels = torch.randn(4, network.z_dim), stand_in_labels(4, data)

    expected = (4, *data.shape)
    for _ in _phases(network.train()):
        output = network(z, labels)
        shape = tuple(output.shape)
        require(shape == expected, f"forward returned {shape}; the data ask for {expected}")
        require(output.dtype == torch.float32, f"forward returned {output.dtype}; float32 in gives float32 out")
        _check_finite("forward", output)
        if data.is_image:
            require(output.abs().max().item() <= 1, "images must be in [-1, 1]: end in tanh, or clip")
        output.square().sum().backward()
    _check_gradients(network)

    network.eval()
    with torch.no_grad():
        together = network(z, labels)
        alone = torch.cat([network(z[i : i + 1], None if labels is None else labels[i : i + 1]) for i in range(4)])
        require(
            torch.allclose(together, alone, atol=1e-4),
            "in evaluation mode a sample depends on the others of its batch: freeze what is computed over the batch",
        )
        require(
            torch.equal(together, network(z, labels)), "in evaluation mode the same latents must give the same images"
        )
        twin = factory(data, **options).eval()
        twin.load_state_dict(network.state_dict())
        require(
            torch.equal(together, twin(z, labels)),
            "a copy with the same state_dict gives something else: keep all that matters in parameters and buffers",
        )
    prove_export(network, data, TorchScriptExporter())


def check_discriminator(factory: Callable[..., Discriminator], data: DataSpec = IMAGES, **options: Any) -> None:
    """Check a discriminator: shape, gradients to all parameters and to images, double backward, features.

    One that grows is brought through all its phases; from the double backward on it is checked in the last.

    Args:
        factory: The class.
        data: What it is to judge.
        options: Its options, where the defaults will not do.
    """
    require_options(factory, options)
    network = _make(factory, data, options).train()
    images, labels = torch.randn(4, *data.shape).clamp(-1, 1), stand_in_labels(4, data)
    for _ in _phases(network):
        logits = network(images, labels)
        require(logits.dim() == 1, f"forward returned {tuple(logits.shape)}; it must return logits [N]: flatten them")
        _check_finite("forward", logits)
        judged = logits.square().sum()
        scores = _scores(network, images, labels)
        if scores is not None:
            shape, expected = tuple(scores.shape), (4, data.num_classes)
            require(shape == expected, f"classify returned {shape}; it must be {expected}")
            judged = judged + scores.square().sum()
        judged.backward()
    _check_gradients(network)

    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf, labels).sum(), leaf, create_graph=True)
    _check_finite("the gradient by the images", gradient)
    gradient.square().sum().backward()  # type: ignore[no-untyped-call]
    moved = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    require(bool(moved), "a gradient penalty reaches no parameter: the network does not support double backward")
    for each in moved:
        _check_finite("the double backward", each)

    network.eval()
    with torch.no_grad():
        judged = network(images, labels)
        require(
            torch.equal(judged, network(images, labels)), "in evaluation mode the same images must get the same logits"
        )
        twin = factory(data, **options).eval()
        twin.load_state_dict(network.state_dict())
        require(
            torch.equal(judged, twin(images, labels)),
            "a copy with the same state_dict judges otherwise: keep all that matters in parameters and buffers",
        )
    if isinstance(network, FeatureDiscriminator):
        with torch.no_grad():
            features = network.features(images, labels)
            require(features.dim() == 2, f"features returned {tuple(features.shape)}; it must return [N, F]")
            same = torch.equal(network.head(features, labels), network(images, labels))
            require(same, "forward must be head(features): leave forward to FeatureDiscriminator")


def check_loss(factory: Callable[..., Loss], **options: Any) -> None:
    """Check a loss: scalars, signs of the gradients, finite at logits of 1e4, the mean over the batch.

    Args:
        factory: The class.
        options: Its options, where the defaults will not do.
    """
    require_options(factory, options)
    loss = factory(**options)
    for player in ("discriminator", "generator"):
        function = getattr(loss, player)
        real = torch.tensor([0.4, 0.6], requires_grad=True)
        fake = torch.tensor([0.45, 0.55], requires_grad=True)
        value = function(Pair(real, fake))
        require(value.dim() == 0, f"{player} returned {tuple(value.shape)}; it must return a scalar: take the mean")
        to_real, to_fake = torch.autograd.grad(value, (real, fake), allow_unused=True)
        if player == "discriminator":
            require(
                to_real is not None and bool((to_real < 0).all()), "the discriminator must gain from higher real logits"
            )
            require(
                to_fake is not None and bool((to_fake > 0).all()), "the discriminator must gain from lower fake logits"
            )
        else:
            require(
                to_fake is not None and bool((to_fake < 0).all()), "the generator must gain from higher fake logits"
            )
        twice = function(Pair(real.repeat(2), fake.repeat(2)))
        require(torch.allclose(value, twice), f"{player} depends on the size of the batch: take the mean over it")
        for size in (100.0, 1e4):
            for sign in (1.0, -1.0):
                far = torch.tensor([sign * size, -sign * size], requires_grad=True)
                value = function(Pair(far, far.flip(0)))
                _check_finite(f"{player} at logits of {size:g}", value)
                _check_finite(f"the gradient of {player} at logits of {size:g}", *torch.autograd.grad(value, far))


def check_regularizer(factory: Callable[..., Regularizer], data: DataSpec = _CLASSES, **options: Any) -> None:
    """Check a regulariser on small networks: a finite scalar for at least one player, with a gradient to it.

    Args:
        factory: The class.
        data: Says of what kind the labels are; examples are vectors of 3 numbers in any case.
        options: Its options, where the defaults will not do.
    """
    require_options(factory, options)
    torch.manual_seed(0)
    regularizer = factory(**options)
    networks: dict[str, nn.Module] = {"generator": SmallGenerator(), "discriminator": SmallDiscriminator()}
    acted = False
    for player, network in networks.items():
        z = torch.randn(8, 4)
        fake = networks["generator"](z)
        if player == "discriminator":
            fake = fake.detach().requires_grad_()
        step = Step(
            networks["generator"],  # type: ignore[arg-type]
            networks["discriminator"],  # type: ignore[arg-type]
            images=Pair(torch.randn(8, 3, requires_grad=True), fake),
            latents=z,
            labels=stand_in_labels(8, data),
        )
        value = getattr(regularizer, player)(step)
        if value is None:
            continue
        acted = True
        require(value.dim() == 0, f"{player} returned {tuple(value.shape)}; it must return a scalar: take the mean")
        _check_finite(player, value)
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(value, parameters, allow_unused=True) if value.requires_grad else ()
        require(
            any(each is not None for each in gradients), f"{player} returned a scalar without a gradient to its player"
        )
    constrains = type(regularizer).constrain is not Regularizer.constrain
    require(acted or constrains, "neither discriminator nor generator returned anything, and constrain does nothing")


def check_augmentation(factory: Callable[..., Augmentation], data: DataSpec = IMAGES, **options: Any) -> None:
    """Check an augmentation: shape, gradients, double backward, examples changed each in its own way, repeatability.

    One that adapts, and changes nothing at first, is shown the logits of a discriminator that overfits.

    Args:
        factory: The class.
        data: What it is to change.
        options: Its options, where the defaults will not do.
    """
    require_options(factory, options)
    torch.manual_seed(0)
    augmentation = factory(data, **options)
    augmentation.update(Pair(torch.ones(1_000_000), -torch.ones(1_000_000)))
    images = torch.randn(1, *data.shape).clamp(-1, 1).repeat(16, *[1] * len(data.shape)).requires_grad_()

    def change(how: Augmentation) -> Tensor:
        torch.manual_seed(1)
        changed: Tensor = how(images)
        return changed

    changed = change(augmentation)
    require(
        changed.shape == images.shape, f"forward returned {tuple(changed.shape)} for examples {tuple(images.shape)}"
    )
    require(changed.dtype == torch.float32, f"forward returned {changed.dtype}; float32 in gives float32 out")
    _check_finite("forward", changed)
    require(
        bool((changed != changed[:1]).any()), "all examples are changed in the same way: draw a number for each of them"
    )
    gradient = torch.zeros_like(images)
    if changed.requires_grad:
        (gradient,) = torch.autograd.grad(changed.square().sum(), images, create_graph=True, materialize_grads=True)
    require(bool(gradient.any()), "no gradient reaches the examples: the generator would learn nothing")
    _check_finite("the gradient by the examples", gradient)
    (twice,) = torch.autograd.grad(gradient.square().sum(), images)
    _check_finite("the double backward", twice)

    require(
        torch.equal(changed, change(augmentation)), "the same seed gave other changes: draw from torch, keep no count"
    )
    twin = factory(data, **options)
    twin.load_state_dict(augmentation.state_dict())
    require(
        torch.equal(changed, change(twin)),
        "a copy with the same state_dict gives something else: keep all that matters in buffers",
    )


def check_dataset(factory: Callable[..., Any], **options: Any) -> PackedData:
    """Check a data set: options, length, repeatability; pack it and return what a network would see.

    Args:
        factory: The class or function; choose options that make it small.
        options: Its options.
    """
    require_options(factory, options)
    dataset = factory(**options)
    require(len(dataset) > 0, "the data set is empty")
    first, again = (pack(dataset, "checked", title=getattr(factory, "__name__", "it")) for _ in range(2))
    require(
        first.fingerprint == again.fingerprint, "reading it twice gave different examples: draw by index, not by chance"
    )
    return first


def _make(factory: Callable[..., _Network], data: DataSpec, options: dict[str, Any]) -> _Network:
    """A network; the same seed must give the same one."""
    torch.manual_seed(0)
    network = factory(data, **options)
    torch.manual_seed(0)
    again = factory(data, **options).state_dict()
    same = all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
    require(same, "the same seed gave other weights: draw them from torch, and from nothing else")
    torch.manual_seed(0)
    return network


def _check_finite(what: str, *tensors: Tensor) -> None:
    for tensor in tensors:
        require(bool(tensor.isfinite().all()), f"{what} is not finite: write it in a stable form, such as softplus")


def _scores(network: Discriminator, images: Tensor, labels: Tensor | None) -> Tensor | None:
    """What its classifier says, if it was made with one."""
    if not isinstance(network, ClassifierDiscriminator):
        return None
    try:
        return network.classify(network.features(images, labels))
    except OptionError:
        return None


def _phases(network: nn.Module) -> Iterator[None]:
    """Bring a network that grows through its phases; any other has one."""
    for images in network.phases() if isinstance(network, Growing) else (0,):
        if isinstance(network, Growing):
            network.grow(images)
        yield


def _check_gradients(network: nn.Module) -> None:
    """Every parameter must have had a gradient."""
    for name, parameter in network.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.isfinite().all())
        require(reached, f"parameter {name} gets no finite gradient: it is not used in forward")
    network.zero_grad()
