"""One step of each player: the named terms that it minimises, their sum, and Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Adam

from ganforge.contract.step import Pair, Step
from ganforge.plugins.part_errors import part_errors
from ganforge.training.execution.buffers import BufferSnapshot
from ganforge.training.execution.engine import EAGER, Engine
from ganforge.training.execution.microbatches import Parts
from ganforge.training.loading.sampler import Batches
from ganforge.training.players import require_alike, require_judged
from ganforge.training.state import Penalty, TrainingState
from ganforge.training.terms import Terms, mean_rows

PLAYERS = ("discriminator", "generator")

SKIPPED = "skipped/"
"""Before a player's name: 1 if its step was not taken, since a gradient was not finite; else 0."""

GRADIENT = "gradient/"
"""Before a player's name: the norm of its gradient."""


@dataclass(frozen=True)
class Batch:
    """What one step of the discriminator is about.

    Attributes:
        real: Real examples ``[N, ...]``, in the detail to which the generator has grown.
        latents: ``[N, z_dim]``, for as many generated ones.
        labels: Classes ``[N]`` of both, or sources ``[N, C, H, W]``, or None.
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
    """Samples number `start` to ``start + count`` and as many latent vectors, of which this process gets its share."""
    shard = engine.workers.shard(count)
    real, labels = batches.read(start + shard.start, shard.stop - shard.start, then=start + count + shard.start)
    latents = torch.randn(count, state.generator.z_dim, device=real.device)[shard]
    labels = None if labels is None else engine.to_memory_format(labels)
    return Batch(
        engine.to_memory_format(state.coarsen(real)), latents, labels, batches.read_labelled(start, count, shard)
    )


def take_step(
    state: TrainingState, shown: Sequence[Batch], index: int, engine: Engine = EAGER
) -> list[dict[str, Tensor]]:
    """Let the discriminator take a step on each batch, and the generator one.

    A player whose gradients are not finite stays as it is, and so does then whatever a module remembers of the step.

    Args:
        state: The players.
        shown: A batch for each of the discriminator's steps; of each, what this process computes.
        index: Number of this step among all.
        engine: How networks are computed, in how many parts a batch, and by whom.

    Returns:
        What happened in each player's step, by name; scalars on the device.
    """
    parts = Parts(engine)
    before = BufferSnapshot.of(module for name, module in state.modules().items() if name != "average")
    rows = []
    for number, batch in enumerate(shown):
        pieces, phase = batch.split(parts.count), f"generate {number}"
        begun = BufferSnapshot.of([state.generator] if parts.count > 1 else [])
        # The last batch serves the generator's step too, and so keeps its graph, unless it is to save memory.
        with torch.set_grad_enabled(batch is shown[-1] and parts.count == 1):
            pairs = [
                (pieces[part], generate_for(state, pieces[part], engine)) for part in parts.each(phase, state.generator)
            ]
        rows.append(step_discriminator(state, pairs, index * len(shown) + number, engine, parts))
        state.images += len(batch.real) * engine.workers.size
    if parts.count == 1:
        rows.append(step_generator(state, pairs, index, engine, parts))
    else:
        again = (
            (piece, parts.repeat(phase, part, begun, partial(generate_for, state, piece, engine)))
            for part, piece in enumerate(pieces)
        )
        rows.append(step_generator(state, again, index, engine, parts))
    skipped = [value for row in rows for name, value in row.items() if name.startswith(SKIPPED)]
    spoiled = torch.stack(skipped).amax()
    before.put_back_where(spoiled)
    state.take_note(spoiled)
    return rows


def generate_for(state: TrainingState, batch: Batch, engine: Engine = EAGER) -> Tensor:
    """The generated examples ``[N, ...]`` of a batch.

    Raises:
        PluginError: The generator fails, or returns examples of another shape or type than real ones.
    """
    name = state.name_of("generator")
    with part_errors("generator", name):
        fake = engine.compute_once(state.generator, batch.latents, batch.labels)
    require_alike(f"generator '{name}'", fake, batch.real)
    return fake


def step_discriminator(
    state: TrainingState,
    pairs: Sequence[tuple[Batch, Tensor]],
    index: int,
    engine: Engine = EAGER,
    parts: Parts | None = None,
) -> dict[str, Tensor]:
    """Let the discriminator take one step.

    Args:
        state: The players.
        pairs: A batch, or those equal parts of one that this process computes, each with its generated examples
            ``[N, ...]``. Where there are several parts, gradients are those of the mean; statistics over a batch are
            those of a part.
        index: Number of this step among all of the discriminator's.
        engine: How networks are computed.
        parts: Of the batch; None for those of the engine.

    Returns:
        What happened, by name: each term, the mean probability given to real and to generated examples, the norm of the
        gradient, and whether the step was skipped; scalars, of all processes.
    """
    parts = parts or Parts(engine)
    due = _due(state, index)
    parameters = list(state.trained["discriminator"].values())
    for each in parameters:
        each.requires_grad_(True)
    rows, logits = [], []
    for number in parts.each(f"discriminator {index}", *_remembering(state)):
        batch, fake = pairs[number]
        real, fake = batch.real.detach(), fake.detach()
        if due:  # a penalty may ask for gradients by the examples
            real.requires_grad_(), fake.requires_grad_()
        step = _make_step(state, batch, real, fake, bool(due), engine)
        row = _descend(state, "discriminator", step, due, parameters, parts.total)
        logits.append((step.logits.real.detach(), step.logits.fake.detach()))
        row["D(x)"], row["D(G(z))"] = (each.sigmoid().mean() for each in logits[-1])
        row["logit_gap"] = logits[-1][0].mean() - logits[-1][1].mean()
        rows.append(row)
    row = _advance(state.discriminator_optimizer, parameters, "discriminator", mean_rows(rows), engine)
    for penalty in state.penalties:
        with part_errors("regularizer", penalty.name):
            penalty.regularizer.constrain(state.discriminator)
    if state.changes:
        judged = Pair(*(engine.workers.gather(torch.cat(side)) for side in zip(*logits, strict=True)))
        for change in state.changes:
            with part_errors("augmentation", change.name):
                change.augmentation.update(judged)
    return row


def step_generator(
    state: TrainingState,
    pairs: Iterable[tuple[Batch, Tensor]],
    index: int,
    engine: Engine = EAGER,
    parts: Parts | None = None,
) -> dict[str, Tensor]:
    """Let the generator take one step; as `step_discriminator`, but that generated examples carry their graph."""
    parts = parts or Parts(engine)
    due = _due(state, index)
    parameters = list(state.trained["generator"].values())
    for each in state.trained["discriminator"].values():
        each.requires_grad_(False)
    rows = []
    # A pair is made only when its part's turn has come.
    for _, (batch, fake) in zip(parts.each("generator", state.generator, *_remembering(state)), pairs, strict=False):
        step = _make_step(state, batch, batch.real.detach(), fake, bool(due), engine)
        rows.append(_descend(state, "generator", step, due, parameters, parts.total))
    return _advance(state.generator_optimizer, parameters, "generator", mean_rows(rows), engine)


def _remembering(state: TrainingState) -> list[nn.Module]:
    """All but the generator that may remember something of a batch."""
    return [state.discriminator, state.loss, *(penalty.regularizer for penalty in state.penalties)]


def _advance(
    optimizer: Adam, parameters: list[nn.Parameter], player: str, row: Mapping[str, Tensor], engine: Engine
) -> dict[str, Tensor]:
    """Step by the gradients of all processes, unless one is not finite: Adam would never forget it.

    Args:
        optimizer: The player's.
        parameters: Those that it steps, with this process's gradients.
        player: Whose they are.
        row: What happened in this process; scalars by name.
        engine: Who steps together.

    Returns:
        The row's means over all processes, the norm of the gradient, and whether the step was skipped.
    """
    values = torch.stack(list(row.values())) / engine.workers.size
    engine.workers.all_reduce_gradients(parameters, values)
    norm = get_total_norm([each.grad for each in parameters if each.grad is not None])
    skipped = (~norm.isfinite()).float()
    # By this attribute torch's gradient scaler tells Adam the same, without waiting for the device.
    optimizer.found_inf = skipped  # type: ignore[attr-defined]
    optimizer.step()
    optimizer.zero_grad()
    return dict(zip(row, values.unbind(), strict=True)) | {GRADIENT + player: norm, SKIPPED + player: skipped}


def _make_step(state: TrainingState, batch: Batch, real: Tensor, fake: Tensor, twice: bool, engine: Engine) -> Step:
    """What a loss and penalties are given; with `twice`, logits may be differentiated twice."""
    run, network = engine.compute if twice else engine.compute_once, state.discriminator

    def compute(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
        if getattr(function, "__self__", function) is not network:
            return run(function, *inputs)
        name = state.name_of("discriminator")
        with part_errors("discriminator", name):
            output = run(function, *inputs)
        require_judged(f"discriminator '{name}'", output, inputs[0])
        return output

    return Step(
        state.generator,
        state.discriminator,
        images=Pair(real, fake),
        latents=batch.latents,
        labels=batch.labels,
        count_images=state.count_images,
        augment=state.augment,
        labelled=batch.labelled,
        compute=compute,
    )


def _descend(
    state: TrainingState,
    player: str,
    step: Step,
    due: Sequence[Penalty],
    parameters: list[nn.Parameter],
    parts: int,
) -> dict[str, Tensor]:
    """Add the gradients of one of so many parts of a batch to those of the player's parameters.

    Returns:
        The terms, and what regularizers logged; scalars by name.
    """
    terms = Terms(player, step.latents.device)
    with part_errors("loss", state.name_of("loss")):
        value = getattr(state.loss, player)(step.logits)
    terms.add_loss(state.name_of("loss"), value)
    for penalty in due:
        with part_errors("regularizer", penalty.name):
            value = getattr(penalty.regularizer, player)(step)
        terms.add_penalty(penalty, value, step, state.images)
    terms.descend(parameters, parts)
    return terms.row


def _due(state: TrainingState, index: int) -> list[Penalty]:
    """The penalties that run at step number `index` of a player."""
    return [each for each in state.penalties if index % each.every == 0 and each.weight.at(state.images) > 0]
