"""Checks of losses, regularizers and augmentations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.capabilities import ExtraOutputs
from ganforge.contract.data import DataSpec
from ganforge.contract.networks import Discriminator, Generator
from ganforge.contract.parts import Augmentation, Loss, Regularizer
from ganforge.contract.step import Pair, Step
from ganforge.plugins.registry import takes_data
from ganforge.sampling import stand_in_labels
from ganforge.testing.networks import SmallDiscriminator, SmallGenerator
from ganforge.testing.requirements import IMAGES, require, require_finite, require_options

_CLASSES = DataSpec((3,), ("first", "second", "third"))


def check_loss(factory: Callable[..., Loss], **options: Any) -> None:
    """Check a loss: scalars, signs of the gradients, finite at logits of 1e4, the mean over the batch.

    For a loss with random numbers, means over a large batch are compared.
    """
    require_options(factory, options)
    loss = factory(**options)
    for player in ("discriminator", "generator"):

        def minimize(real: Tensor, fake: Tensor, seed: int = 0, player: str = player) -> Tensor:
            torch.manual_seed(seed)
            value = getattr(loss, player)(Pair(real, fake))
            _require_scalar(player, value)
            return value  # type: ignore[no-any-return]

        real = torch.tensor([0.4, 0.6], requires_grad=True)
        fake = torch.tensor([0.45, 0.55], requires_grad=True)
        value = minimize(real, fake)
        to_real, to_fake = torch.autograd.grad(value, (real, fake), allow_unused=True)
        gains = {
            "discriminator": ((to_real, -1.0, "higher real"), (to_fake, 1.0, "lower fake")),
            "generator": ((to_fake, -1.0, "higher fake"),),
        }
        for gradient, sign, change in gains[player]:
            right = gradient is not None and bool((sign * gradient > 0).all())
            require(right, f"the {player} must gain from {change} logits")
        random = not torch.equal(value, minimize(real, fake, seed=1))
        count, tolerance = (2000, 0.1) if random else (1, 1e-5)
        once, twice = (minimize(real.repeat(times), fake.repeat(times)) for times in (count, 2 * count))
        same = torch.allclose(once, twice, rtol=tolerance, atol=tolerance)
        require(same, f"{player} depends on the size of the batch: take the mean over it")
        for size in (100.0, 1e4):
            for sign in (1.0, -1.0):
                far = torch.tensor([sign * size, -sign * size], requires_grad=True)
                value = minimize(far, far.flip(0))
                require_finite(f"{player} at logits of {size:g}", value)
                require_finite(f"the gradient of {player} at logits of {size:g}", *torch.autograd.grad(value, far))


def check_regularizer(
    factory: Callable[..., Regularizer],
    data: DataSpec = _CLASSES,
    *,
    generator: Generator | None = None,
    discriminator: Discriminator | None = None,
    **options: Any,
) -> None:
    """Check a regularizer: a finite scalar for at least one player, with a gradient to it or to its own parameters.

    Labels are those of `data`; examples are vectors of 3 numbers unless networks are given. The default networks are
    small ones for these: a generator with 4 latents, and a discriminator.
    """
    require_options(factory, options)
    if generator is None and discriminator is None:
        data = replace(data, shape=(3,))
    torch.manual_seed(0)
    regularizer = factory(data, **options) if takes_data(factory) else factory(**options)
    generator, discriminator = generator or SmallGenerator(), discriminator or SmallDiscriminator()
    acted = False
    for player, network in (("discriminator", discriminator), ("generator", generator)):
        z, labels = torch.randn(8, generator.z_dim), stand_in_labels(8, data)
        outputs = generator.outputs(z, labels) if isinstance(generator, ExtraOutputs) else [generator(z, labels)]
        if player == "discriminator":
            outputs = [each.detach().requires_grad_() for each in outputs]
        fake, extras = outputs[0], outputs[1:]
        real = torch.randn(8, *data.shape, requires_grad=True)
        given: Callable[[], list[Tensor]] = partial(list, extras)
        step = Step(generator, discriminator, images=Pair(real, fake), latents=z, labels=labels, extras=given)
        value = getattr(regularizer, player)(step)
        acted = acted or value is not None or bool(step.logged) or bool(step.collected)
        if step.collected:
            regularizer.update(step.collected)
        if value is None:
            continue
        _require_scalar(player, value)
        require_finite(player, value)
        parameters = [each for each in (*network.parameters(), *regularizer.parameters()) if each.requires_grad]
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        require(
            any(each is not None for each in gradients), f"{player} returned a scalar without a gradient to its player"
        )
    constrains = type(regularizer).constrain is not Regularizer.constrain
    require(acted or constrains, "neither discriminator nor generator returned anything, and constrain does nothing")


def _require_scalar(player: str, value: object) -> None:
    require(isinstance(value, Tensor), f"{player} returned a value of type {type(value).__name__}, not a tensor")
    assert isinstance(value, Tensor)
    require(value.dim() == 0, f"{player} returned {tuple(value.shape)}; it must return a scalar: take the mean")
    require(value.requires_grad, f"{player} returned a scalar without a gradient to its player")


def check_augmentation(factory: Callable[..., Augmentation], data: DataSpec = IMAGES, **options: Any) -> None:
    """Check an augmentation: shape, gradients, double backward, variation over examples, repeatability.

    An adaptive augmentation first receives logits of a discriminator that overfits.
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
    require(changed.dtype == torch.float32, f"forward returned {changed.dtype}; it must keep float32")
    require_finite("forward", changed)
    require(
        bool((changed != changed[:1]).any()), "all examples are changed in the same way: draw a number for each of them"
    )
    gradient = torch.zeros_like(images)
    if changed.requires_grad:
        (gradient,) = torch.autograd.grad(changed.square().sum(), images, create_graph=True, materialize_grads=True)
    require(bool(gradient.any()), "no gradient reaches the examples: the generator would learn nothing")
    require_finite("the gradient with respect to the examples", gradient)
    (twice,) = torch.autograd.grad(gradient.square().sum(), images)
    require_finite("the double backward", twice)

    require(
        torch.equal(changed, change(augmentation)), "the same seed gave other changes: use only torch's random numbers"
    )
    twin = factory(data, **options)
    twin.load_state_dict(augmentation.state_dict())
    require(
        torch.equal(changed, change(twin)),
        "a copy with the same state_dict gives a different result: keep all state in buffers",
    )
