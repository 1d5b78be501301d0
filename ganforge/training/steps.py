"""One step of each player: the named terms that it minimises, their sum, and Adam."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.interfaces import Pair, Step
from ganforge.training.state import Penalty, TrainingState


def step_discriminator(
    state: TrainingState,
    real: Tensor,
    fake: Tensor,
    latents: Tensor,
    labels: Tensor | None,
    index: int,
    labelled: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Let the discriminator take one step.

    Args:
        state: The players.
        real: Real examples ``[N, ...]``.
        fake: Generated examples ``[N, ...]``, cut off from the generator's graph.
        latents: ``[N, z_dim]``, from which they came.
        labels: Classes ``[N]`` of both, or None.
        index: Number of this step among all of the discriminator's.
        labelled: Real examples whose classes may be used, if those of `real` may not; see `Step`.

    Returns:
        What happened, by name: each term, and the mean probability given to real and to generated examples; scalars.
    """
    due = _due(state, index)
    if due:  # a penalty may ask for gradients by the examples
        real, fake = real.requires_grad_(), fake.requires_grad_()
    state.discriminator.requires_grad_(True)
    step = Step(
        state.generator,
        state.discriminator,
        images=Pair(real, fake),
        latents=latents,
        labels=labels,
        images_seen=state.images,
        augment=state.augment,
        labelled=labelled,
    )
    terms = {"discriminator/loss": state.loss.discriminator(step.logits)}
    for penalty in due:
        _add(terms, "discriminator", penalty, penalty.regularizer.discriminator(step), state.images)
    parameters = list(state.discriminator.parameters())
    torch.stack(list(terms.values())).sum().backward(inputs=parameters)  # type: ignore[no-untyped-call]
    state.discriminator_optimizer.step()
    state.discriminator_optimizer.zero_grad()
    for penalty in state.penalties:
        penalty.regularizer.constrain(state.discriminator)
    for change in state.changes:
        change.augmentation.update(step.logits)
    with torch.no_grad():
        terms["D(x)"] = step.logits.real.sigmoid().mean()
        terms["D(G(z))"] = step.logits.fake.sigmoid().mean()
    return {name: term.detach() for name, term in terms.items()}


def step_generator(
    state: TrainingState, real: Tensor, fake: Tensor, latents: Tensor, labels: Tensor | None, index: int
) -> dict[str, Tensor]:
    """Let the generator take one step; `fake` carries its graph. Otherwise as `step_discriminator`."""
    state.discriminator.requires_grad_(False)
    step = Step(
        state.generator,
        state.discriminator,
        images=Pair(real.detach(), fake),
        latents=latents,
        labels=labels,
        images_seen=state.images,
        augment=state.augment,
    )
    terms = {"generator/loss": state.loss.generator(step.logits)}
    for penalty in _due(state, index):
        _add(terms, "generator", penalty, penalty.regularizer.generator(step), state.images)
    torch.stack(list(terms.values())).sum().backward(inputs=list(state.generator.parameters()))  # type: ignore[no-untyped-call]
    state.generator_optimizer.step()
    state.generator_optimizer.zero_grad()
    return {name: term.detach() for name, term in terms.items()}


def _due(state: TrainingState, index: int) -> list[Penalty]:
    """The penalties that run at step number `index` of a player."""
    return [each for each in state.penalties if index % each.every == 0 and each.weight.at(state.images) > 0]


def _add(terms: dict[str, Tensor], player: str, penalty: Penalty, value: Tensor | None, images: int) -> None:
    """Weigh a penalty; one that runs every k-th step counts k times, so its mean gradient is that of every step."""
    if value is not None:
        terms[f"{player}/{penalty.name}"] = value * (penalty.weight.at(images) * penalty.every)
