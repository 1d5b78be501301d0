"""One step of each player: the named terms that it minimises, their sum, and Adam."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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

    def split(self, parts: int) -> list[Batch]:
        """The batch in so many equal parts."""
        if parts == 1:
            return [self]
        reals, latents = self.real.chunk(parts), self.latents.chunk(parts)
        labels = [None] * parts if self.labels is None else self.labels.chunk(parts)
        labelled = (
            [None] * parts
            if self.labelled is None
            else zip(*(each.chunk(parts) for each in self.labelled), strict=True)
        )
        return [Batch(*part) for part in zip(reals, latents, labels, labelled, strict=True)]


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
        shown: A batch for each of the discriminator's steps.
        index: Number of this step among all.
        engine: How networks are computed, and in how many parts a batch.

    Returns:
        What happened in each player's step, by name; scalars on the device.
    """
    parts = engine.plan.accumulate
    rows = []
    for number, batch in enumerate(shown):
        # The last batch serves the generator's step too, and so keeps its graph, unless it is to save memory.
        with torch.set_grad_enabled(batch is shown[-1] and parts == 1):
            pairs = [(part, generate_for(state, part, engine)) for part in batch.split(parts)]
        rows.append(step_discriminator(state, pairs, index * len(shown) + number, engine))
        state.images += len(batch.real)
    if parts == 1:
        rows.append(step_generator(state, pairs, index, engine))
    else:
        again = ((part, generate_for(state, part, engine)) for part, _ in pairs)
        rows.append(step_generator(state, again, index, engine))
    return rows


def generate_for(state: TrainingState, batch: Batch, engine: Engine = EAGER) -> Tensor:
    """The generated examples ``[N, ...]`` of a batch."""
    return engine.compute_once(state.generator, batch.latents, batch.labels)


def step_discriminator(
    state: TrainingState, pairs: Iterable[tuple[Batch, Tensor]], index: int, engine: Engine = EAGER
) -> dict[str, Tensor]:
    """Let the discriminator take one step.

    Args:
        state: The players.
        pairs: A batch, or equal parts of one, each with its generated examples ``[N, ...]``. Where there are several,
            gradients are those of the mean; statistics over a batch are those of a part.
        index: Number of this step among all of the discriminator's.
        engine: How networks are computed.

    Returns:
        What happened, by name: each term, and the mean probability given to real and to generated examples; scalars.
    """
    due = _due(state, index)
    pairs = list(pairs)
    parameters = list(state.discriminator.parameters())
    state.discriminator.requires_grad_(True)
    rows, logits = [], []
    for batch, fake in pairs:
        real, fake = batch.real.detach(), fake.detach()
        if due:  # a penalty may ask for gradients by the examples
            real.requires_grad_(), fake.requires_grad_()
        step = _make_step(state, batch, real, fake, bool(due), engine)
        terms = {"discriminator/loss": state.loss.discriminator(step.logits)}
        for penalty in due:
            _add(terms, "discriminator", penalty, penalty.regularizer.discriminator(step), state.images)
        _descend(terms, parameters, len(pairs))
        logits.append((step.logits.real.detach(), step.logits.fake.detach()))
        terms["D(x)"], terms["D(G(z))"] = (each.sigmoid().mean() for each in logits[-1])
        rows.append(terms)
    state.discriminator_optimizer.step()
    state.discriminator_optimizer.zero_grad()
    for penalty in state.penalties:
        penalty.regularizer.constrain(state.discriminator)
    for change in state.changes:
        change.augmentation.update(Pair(*map(torch.cat, zip(*logits, strict=True))))
    return _mean(rows)


def step_generator(
    state: TrainingState, pairs: Iterable[tuple[Batch, Tensor]], index: int, engine: Engine = EAGER
) -> dict[str, Tensor]:
    """Let the generator take one step; as `step_discriminator`, but that generated examples carry their graph."""
    due = _due(state, index)
    parameters = list(state.generator.parameters())
    state.discriminator.requires_grad_(False)
    rows = []
    for batch, fake in pairs:
        step = _make_step(state, batch, batch.real.detach(), fake, bool(due), engine)
        terms = {"generator/loss": state.loss.generator(step.logits)}
        for penalty in due:
            _add(terms, "generator", penalty, penalty.regularizer.generator(step), state.images)
        _descend(terms, parameters, engine.plan.accumulate)
        rows.append(terms)
    state.generator_optimizer.step()
    state.generator_optimizer.zero_grad()
    return _mean(rows)


def _make_step(state: TrainingState, batch: Batch, real: Tensor, fake: Tensor, twice: bool, engine: Engine) -> Step:
    """What a loss and penalties are given; with `twice`, logits may be differentiated twice."""
    return Step(
        state.generator,
        state.discriminator,
        images=Pair(real, fake),
        latents=batch.latents,
        labels=batch.labels,
        count_images=state.count_images,
        augment=state.augment,
        labelled=batch.labelled,
        compute=engine.compute if twice else engine.compute_once,
    )


def _descend(terms: Mapping[str, Tensor], parameters: list[nn.Parameter], parts: int) -> None:
    """Add the gradients of one of so many parts to those of the parameters."""
    total = torch.stack(list(terms.values())).sum() / parts
    total.backward(inputs=parameters)  # type: ignore[no-untyped-call]


def _mean(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The means of scalars by name."""
    return {name: torch.stack([row[name].detach() for row in rows]).mean() for name in rows[0]}


def _due(state: TrainingState, index: int) -> list[Penalty]:
    """The penalties that run at step number `index` of a player."""
    return [each for each in state.penalties if index % each.every == 0 and each.weight.at(state.images) > 0]


def _add(terms: dict[str, Tensor], player: str, penalty: Penalty, value: Tensor | None, images: int) -> None:
    """Weigh a penalty; one that runs every k-th step counts k times, so its mean gradient is that of every step."""
    if value is not None:
        terms[f"{player}/{penalty.name}"] = value * (penalty.weight.at(images) * penalty.every)
