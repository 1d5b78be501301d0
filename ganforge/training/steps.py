"""Optimization steps of both players: loss terms, their sum, and the optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.contract.capabilities import ExtraOutputs
from ganforge.contract.errors import PluginError
from ganforge.contract.step import Pair, Step
from ganforge.plugins.part_errors import part_errors
from ganforge.training.execution.buffers import BufferSnapshot
from ganforge.training.execution.engine import EAGER, Engine
from ganforge.training.execution.microbatches import Microbatches
from ganforge.training.loading.sampler import Batches
from ganforge.training.optimizers import clip_gradients, step_optimizer
from ganforge.training.players import require_logits, require_same_shape
from ganforge.training.state import Penalty, TrainingState, is_average
from ganforge.training.terms import Terms, mean_rows

PLAYERS = ("discriminator", "generator")

SKIPPED = "skipped/"  # metric prefix of a player: 1 if its step was skipped because of a non-finite gradient, else 0
GRADIENT = "gradient/"  # metric prefix of a player: the norm of its gradient


Generated = Tensor | list[Tensor]
"""Output of a generator: examples ``[N, ...]``; or a list of them and extra outputs, see `ExtraOutputs`."""


@dataclass(frozen=True)
class Batch:
    """Inputs of one discriminator step.

    Attributes:
        real: Real examples ``[N, ...]``, in the detail of a growing generator.
        latents: Latents ``[N, z_dim]``.
        labels: Labels ``[N]``, sources ``[N, C, H, W]``, or None.
        labelled: Labeled real examples in semi-supervised training; see `Step`.
    """

    real: Tensor
    latents: Tensor
    labels: Tensor | None = None
    labelled: tuple[Tensor, Tensor] | None = None

    def split(self, microbatches: int) -> list[Batch]:
        """Split the batch into equal microbatches."""
        if microbatches == 1:
            return [self]
        reals, latents = self.real.chunk(microbatches), self.latents.chunk(microbatches)
        labels = [None] * microbatches if self.labels is None else self.labels.chunk(microbatches)
        labelled = (
            [None] * microbatches
            if self.labelled is None
            else zip(*(each.chunk(microbatches) for each in self.labelled), strict=True)
        )
        return [Batch(*part) for part in zip(reals, latents, labels, labelled, strict=True)]


def read_batch(state: TrainingState, batches: Batches, engine: Engine, start: int, count: int) -> Batch:
    """Return this process's share of samples `start` to ``start + count``, with latents."""
    shard = engine.workers.shard(count)
    real, labels = batches.read(start + shard.start, shard.stop - shard.start, then=start + count + shard.start)
    latents = torch.randn(count, state.generator.z_dim, device=real.device)[shard]
    labels = None if labels is None else engine.to_memory_format(labels)
    return Batch(
        engine.to_memory_format(state.coarsen(real)), latents, labels, batches.read_labeled(start, count, shard)
    )


def take_step(
    state: TrainingState, shown: Sequence[Batch], index: int, engine: Engine = EAGER
) -> list[dict[str, Tensor]]:
    """Take a discriminator step on each batch, then a generator step; return scalars of each step by name.

    A player with non-finite gradients does not change, and module buffers are restored.
    """
    before = BufferSnapshot.of(module for name, module in state.modules().items() if not is_average(name))
    take_steps = _take_both if state.is_adversarial else _take_alone
    rows = take_steps(state, shown, index, engine, Microbatches(engine))
    skipped = [value for row in rows for name, value in row.items() if name.startswith(SKIPPED)]
    any_skipped = torch.stack(skipped).amax()
    before.restore_where(any_skipped > 0)
    state.count_skipped(any_skipped)
    return rows


def _take_both(
    state: TrainingState, shown: Sequence[Batch], index: int, engine: Engine, microbatches: Microbatches
) -> list[dict[str, Tensor]]:
    rows = []
    for number, batch in enumerate(shown):
        pieces, phase = batch.split(microbatches.count), f"generate {number}"
        begun = BufferSnapshot.of([state.generator] if microbatches.count > 1 else [])
        # The generator step reuses the last batch with its graph, except with microbatches, to save memory.
        with torch.set_grad_enabled(batch is shown[-1] and microbatches.count == 1):
            pairs = [
                (pieces[part], generate_for(state, pieces[part], engine))
                for part in microbatches.each(phase, state.generator)
            ]
        rows.append(step_discriminator(state, pairs, index * len(shown) + number, engine, microbatches))
        state.images += len(batch.real) * engine.workers.size
    if microbatches.count == 1:
        rows.append(step_generator(state, pairs, index, engine, microbatches))
    else:
        again = (
            (piece, microbatches.repeat(phase, part, begun, partial(generate_for, state, piece, engine)))
            for part, piece in enumerate(pieces)
        )
        rows.append(step_generator(state, again, index, engine, microbatches))
    return rows


def _take_alone(
    state: TrainingState, shown: Sequence[Batch], index: int, engine: Engine, microbatches: Microbatches
) -> list[dict[str, Tensor]]:
    (batch,) = shown
    state.images += len(batch.real) * engine.workers.size
    pairs = [(piece, partial(generate_for, state, piece, engine)) for piece in batch.split(microbatches.count)]
    return [step_generator(state, pairs, index, engine, microbatches)]


def generate_for(state: TrainingState, batch: Batch, engine: Engine = EAGER) -> Generated:
    """Generate the examples ``[N, ...]`` of a batch; raise `PluginError` if the generator fails."""
    name, generator = state.name_of("generator"), state.generator
    generated: Generated
    with part_errors("generator", name):
        if isinstance(generator, ExtraOutputs):
            generated = engine.compute_once(generator.outputs, batch.latents, batch.labels)
        else:
            generated = engine.compute_once(generator, batch.latents, batch.labels)
    require_same_shape(f"generator '{name}'", _list(generated)[0], batch.real)
    return generated


def _list(generated: Generated) -> list[Tensor]:
    return generated if isinstance(generated, list) else [generated]


def step_discriminator(
    state: TrainingState,
    pairs: Sequence[tuple[Batch, Generated]],
    index: int,
    engine: Engine = EAGER,
    microbatches: Microbatches | None = None,
) -> dict[str, Tensor]:
    """Take one discriminator step, and return scalars over all processes by name.

    `pairs` holds microbatches of this process with what was generated for them. The gradient is that of the
    mean; batch statistics are those of a microbatch. `index` counts all discriminator steps.
    """
    microbatches = microbatches or Microbatches(engine)
    due = _due_penalties(state, index)
    parameters = list(state.trained["discriminator"].values())
    for each in parameters:
        each.requires_grad_(True)
    done, logits = [], []
    for number in microbatches.each(f"discriminator {index}", *_buffered(state)):
        batch, generated = pairs[number]
        real, *fakes = (each.detach() for each in (batch.real, *_list(generated)))
        if due:  # a penalty may need gradients with respect to the examples
            for examples in (real, *fakes):
                examples.requires_grad_()
        step = _make_step(state, batch, real, fakes, bool(due), engine)
        terms = _backward(state, "discriminator", step, due, parameters, microbatches.total)
        logits.append((step.logits.real.detach(), step.logits.fake.detach()))
        terms.row["D(x)"], terms.row["D(G(z))"] = (each.sigmoid().mean() for each in logits[-1])
        terms.row["logit_gap"] = logits[-1][0].mean() - logits[-1][1].mean()
        done.append(terms)
        step.release()
    row = _optimizer_step(state, "discriminator", parameters, mean_rows(done), engine)
    _update_regularizers(state, done, engine)
    for penalty in state.penalties:
        with part_errors("regularizer", penalty.name):
            penalty.regularizer.constrain(state.discriminator)
    if state.augmentations:
        judged = Pair(*(engine.workers.gather(torch.cat(side)) for side in zip(*logits, strict=True)))
        for applied in state.augmentations:
            with part_errors("augmentation", applied.name):
                applied.augmentation.update(judged)
    return row


def step_generator(
    state: TrainingState,
    pairs: Iterable[tuple[Batch, Generated | Callable[[], Generated]]],
    index: int,
    engine: Engine = EAGER,
    microbatches: Microbatches | None = None,
) -> dict[str, Tensor]:
    """Take one generator step; arguments as in `step_discriminator`, but generated examples carry their graph.

    They may be functions that generate them when they are first used.
    """
    microbatches = microbatches or Microbatches(engine)
    due = _due_penalties(state, index)
    parameters = list(state.trained["generator"].values())
    for each in state.trained["discriminator"].values():
        each.requires_grad_(False)
    done = []
    # Each pair is generated when its microbatch is due.
    for _, (batch, generated) in zip(
        microbatches.each("generator", state.generator, *_buffered(state)), pairs, strict=False
    ):
        step = _make_step(state, batch, batch.real.detach(), generated, bool(due), engine)
        done.append(_backward(state, "generator", step, due, parameters, microbatches.total))
        step.release()
    row = _optimizer_step(state, "generator", parameters, mean_rows(done), engine)
    _update_regularizers(state, done, engine)
    return row


def _buffered(state: TrainingState) -> list[nn.Module]:
    """Return modules besides the generator whose buffers may change in a step."""
    regularizers = (penalty.regularizer for penalty in state.penalties)
    return [state.discriminator, state.loss, *state.others.values(), *regularizers]


def _optimizer_step(
    state: TrainingState, player: str, parameters: list[nn.Parameter], row: Mapping[str, Tensor], engine: Engine
) -> dict[str, Tensor]:
    """Step by the mean gradient of all processes, or skip it if not finite; return mean scalars, norm and skip flag."""
    values = torch.stack(list(row.values())) / engine.workers.size
    engine.workers.all_reduce_gradients(parameters, values)
    gradients = [each.grad for each in parameters if each.grad is not None]
    norm = (
        torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if gradients
        else torch.zeros_like(values[0])
    )
    skipped = (~norm.isfinite()).float()
    if gradients and player in state.clip:
        clip_gradients(gradients, norm, state.clip[player])
    optimizer = state.optimizer_of(player)
    with part_errors("optimizer", state.name_of(f"{player}_optimizer")):
        step_optimizer(optimizer, parameters, skipped)
    optimizer.zero_grad()
    return dict(zip(row, values.unbind(), strict=True)) | {GRADIENT + player: norm, SKIPPED + player: skipped}


def _make_step(
    state: TrainingState,
    batch: Batch,
    real: Tensor,
    generated: Generated | Callable[[], Generated],
    second_order: bool,
    engine: Engine,
) -> Step:
    """Construct the step for losses and penalties; with `second_order`, logits are twice differentiable."""
    run, network = engine.compute if second_order else engine.compute_once, state.discriminator

    @cache
    def outputs() -> list[Tensor]:
        return _list(generated() if callable(generated) else generated)

    def compute(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
        if getattr(function, "__self__", function) is not network:
            return run(function, *inputs)
        name = state.name_of("discriminator")
        with part_errors("discriminator", name):
            output = run(function, *inputs)
        require_logits(f"discriminator '{name}'", output, inputs[0])
        return output

    return Step(
        state.generator,
        state.discriminator,
        images=Pair(real, lambda: outputs()[0]),
        latents=batch.latents,
        labels=batch.labels,
        count_images=state.count_images,
        augment=state.augment,
        labelled=batch.labelled,
        compute=compute,
        networks=state.others,
        extras=lambda: outputs()[1:],
    )


def _backward(
    state: TrainingState,
    player: str,
    step: Step,
    due: Sequence[Penalty],
    parameters: list[nn.Parameter],
    microbatches: int,
) -> Terms:
    """Accumulate the gradients of one microbatch, and return its terms."""
    terms, name = Terms(player, step.latents.device), state.name_of("loss")
    for logits, weight in step.scales() if state.is_adversarial else []:
        with part_errors("loss", name):
            value = getattr(state.loss, player)(logits)
        terms.add_loss(name, value, weight)
    for penalty in due:
        with part_errors("regularizer", penalty.name):
            value = getattr(penalty.regularizer, player)(step)
        terms.add_penalty(penalty, value, step, state.images)
    terms.backward(parameters, microbatches)
    return terms


def _update_regularizers(state: TrainingState, done: Sequence[Terms], engine: Engine) -> None:
    """Give regularizers what their steps collected, of all microbatches and processes."""
    for penalty in state.penalties:
        parts = [terms.collected.get(penalty.name, {}) for terms in done]
        if any(part.keys() != parts[0].keys() for part in parts):
            raise PluginError(
                f"regularizer '{penalty.name}' collects other names in some microbatches",
                "call step.collect with the same names in every microbatch of a step",
            )
        whole = {name: engine.workers.gather(torch.cat([part[name] for part in parts])) for name in parts[0]}
        if whole:
            with part_errors("regularizer", penalty.name), torch.no_grad():
                penalty.regularizer.update(whole)


def _due_penalties(state: TrainingState, index: int) -> list[Penalty]:
    """Return the penalties that are due at step `index` of a player."""
    return [each for each in state.penalties if index % each.every == 0 and each.weight.at(state.images) > 0]
