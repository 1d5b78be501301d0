"""One step of each player: the named terms that it minimises, their sum, and Adam."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.interfaces import Pair, Step
from ganforge.training.state import Penalty, TrainingState


def step_discriminator(
    state: TrainingState, real: Tensor, fake: Tensor, latents: Tensor, labels: Tensor | None, index: int
) -> dict[str, Tensor]:
    """Let the discriminator take one step.

    Args:
        state: The players.
        real: Real examples ``[N, ...]``.
        fake: Generated examples ``[N, ...]``, cut off from the generator's graph.
        latents: ``[N, z_dim]``, from which they came.
        labels: Classes ``[N]`` of both, or None.
        index: Number of this step among all of the discriminator's.

    Returns:
        What happened, by name: each term, and the mean probability given to real and to generated examples; scalars.
    """
    due = [penalty for penalty in state.penalties if index % penalty.every == 0]
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
    )
    terms = {"discriminator/loss": state.loss.discriminator(step.logits)}
    for penalty in due:
        _add(terms, "discriminator", penalty, penalty.regularizer.discriminator(step))
    parameters = list(state.discriminator.parameters())
    torch.stack(list(terms.values())).sum().backward(inputs=parameters)  # type: ignore[no-untyped-call]
    state.discriminator_optimizer.step()
    state.discriminator_optimizer.zero_grad()
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
    )
    terms = {"generator/loss": state.loss.generator(step.logits)}
    for penalty in state.penalties:
        if index % penalty.every == 0:
            _add(terms, "generator", penalty, penalty.regularizer.generator(step))
    torch.stack(list(terms.values())).sum().backward(inputs=list(state.generator.parameters()))  # type: ignore[no-untyped-call]
    state.generator_optimizer.step()
    state.generator_optimizer.zero_grad()
    return {name: term.detach() for name, term in terms.items()}


def _add(terms: dict[str, Tensor], player: str, penalty: Penalty, value: Tensor | None) -> None:
    """Weigh a penalty; one that runs every k-th step counts k times, so its mean gradient is that of every step."""
    if value is not None:
        terms[f"{player}/{penalty.name}"] = value * (penalty.weight * penalty.every)
