"""One step of each player: the named terms that it minimises, their sum, and Adam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.interfaces import Pair, Step
from ganforge.training.batches import Batches
from ganforge.training.engine import EAGER, Engine
from ganforge.training.state import Penalty, TrainingState


@dataclass(frozen=True)
class Batch:
    """What one step of the discriminator is about.

    Attributes:
        real: Real examples ``[N, ...]``, in the detail to which the generator has grown.
        latents: ``[N, z_dim]``, for as many generated ones.
        labels: Classes ``[N]`` of both, or None.
        labelled: Real examples whose classes may be used, if those of `real` may not; see `Step`.
    """

    real: Tensor
    latents: Tensor
    labels: Tensor | None = None
    labelled: tuple[Tensor, Tensor] | None = None


def read_batch(state: TrainingState, batches: Batches, engine: Engine, start: int, count: int) -> Batch:
    """Samples number `start` to ``start + count``, and as many latent vectors."""
    real, labels = batches.read(start, count)
    latents = torch.randn(count, state.generator.z_dim, device=real.device)
    return Batch(engine.lay(state.coarsen(real)), latents, labels, batches.read_labelled(start, count))


def take_step(
    state: TrainingState, shown: Sequence[Batch], index: int, engine: Engine = EAGER
) -> list[dict[str, Tensor]]:
    """Let the discriminator take a step on each batch, and the generator one.

    Args:
        state: The players.
        shown: A batch for each of the discriminator's steps; none may be used again.
        index: Number of this step among all.
        engine: How networks are computed.

    Returns:
        What happened in each player's step, by name; scalars on the device.
    """
    rows = []
    for number, batch in enumerate(shown):
        # The last batch serves the generator's step too, and so keeps its graph.
        with torch.set_grad_enabled(batch is shown[-1]):
            fake = engine.compute_once(state.generator, batch.latents, batch.labels)
        place = index * len(shown) + number
        rows.append(
            step_discriminator(
                state, batch.real, fake.detach(), batch.latents, batch.labels, place, batch.labelled, engine
            )
        )
        state.images += len(batch.real)
    # The generator, against the discriminator as it is now.
    rows.append(step_generator(state, batch.real, fake, batch.latents, batch.labels, index, engine))
    return rows


def step_discriminator(
    state: TrainingState,
    real: Tensor,
    fake: Tensor,
    latents: Tensor,
    labels: Tensor | None,
    index: int,
    labelled: tuple[Tensor, Tensor] | None = None,
    engine: Engine = EAGER,
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
        engine: How networks are computed.

    Returns:
        What happened, by name: each term, and the mean probability given to real and to generated examples; scalars.
    """
    due = _due(state, index)
    if due:  # a penalty may ask for gradients by the examples
        real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
    state.discriminator.requires_grad_(True)
    step = Step(
        state.generator,
        state.discriminator,
        images=Pair(real, fake),
        latents=latents,
        labels=labels,
        count_images=state.count_images,
        augment=state.augment,
        labelled=labelled,
        compute=engine.compute if due else engine.compute_once,
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
    state: TrainingState,
    real: Tensor,
    fake: Tensor,
    latents: Tensor,
    labels: Tensor | None,
    index: int,
    engine: Engine = EAGER,
) -> dict[str, Tensor]:
    """Let the generator take one step; `fake` carries its graph. Otherwise as `step_discriminator`."""
    due = _due(state, index)
    state.discriminator.requires_grad_(False)
    step = Step(
        state.generator,
        state.discriminator,
        images=Pair(real.detach(), fake),
        latents=latents,
        labels=labels,
        count_images=state.count_images,
        augment=state.augment,
        compute=engine.compute if due else engine.compute_once,
    )
    terms = {"generator/loss": state.loss.generator(step.logits)}
    for penalty in due:
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
