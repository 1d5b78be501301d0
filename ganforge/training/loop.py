"""The loop: the algorithm of 2014 in paragraphs."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Any, Protocol

from ganforge.config.schema import RunConfig, TrainingConfig
from ganforge.core.distributed import is_launched
from ganforge.core.seeding import seed_everything
from ganforge.training.ema import update_average
from ganforge.training.execution.cuda_graphs import make_stepper
from ganforge.training.execution.engine import Engine
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording.recorder import Recorder, Score, Scorer
from ganforge.training.recording.recovery import give_up, roll_back
from ganforge.training.signals import StopRequest
from ganforge.training.state import TrainingState
from ganforge.training.steps import read_batch

CHECKPOINT_SECONDS = 300.0
"""Time between two checkpoints, if nothing else is said."""

PATIENCE = 16
"""So many steps may be skipped on end, since gradients are not finite, before something is done about it."""

GO, SPENT = 0, 1
"""Votes before a step: take the step, or end since the time is up. A signal's number plus ``SPENT`` is a vote too."""


class Callback(Protocol):
    """Whoever shows a run to a person."""

    def step(self, images: int, seconds: float) -> None:
        """Take note of a step: images so far, and seconds of training so far."""

    def tick(self, row: dict[str, Any]) -> None:
        """Show a row of metrics; its ``picture`` is the path of the newest grid."""

    def note(self, text: str) -> None:
        """Show a line of words."""

    def score(self, row: dict[str, Any], best: Score) -> None:
        """Show a row of scores, and the best so far."""


class Callbacks:
    """Several watchers, each of which is told all."""

    def __init__(self, *callbacks: Callback) -> None:
        self._callbacks = callbacks

    def step(self, images: int, seconds: float) -> None:
        """See `Callback.step`."""
        for each in self._callbacks:
            each.step(images, seconds)

    def tick(self, row: dict[str, Any]) -> None:
        """See `Callback.tick`."""
        for each in self._callbacks:
            each.tick(row)

    def note(self, text: str) -> None:
        """See `Callback.note`."""
        for each in self._callbacks:
            each.note(text)

    def score(self, row: dict[str, Any], best: Score) -> None:
        """See `Callback.score`."""
        for each in self._callbacks:
            each.score(row, best)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        images: Real examples shown.
        seconds: Time spent in training, over all its sittings.
        stopped: The signal that ended it early, or None.
    """

    images: int
    seconds: float
    stopped: signal.Signals | None


def train(
    state: TrainingState,
    batches: Batches,
    record: Recorder,
    config: RunConfig,
    callback: Callback,
    engine: Engine,
    scorer: Scorer | None = None,
) -> Outcome:
    """Train until the budget is spent or a signal comes; the end is saved in either case.

    Args:
        state: The players, as built or as resumed.
        batches: Real examples.
        record: Where everything is written.
        config: Batch, budget, seed, and what follows schedules.
        callback: Whoever shows the run.
        engine: How steps are computed.
        scorer: Asked how good the averaged generator is, whenever a multiple of ``eval_every`` images is reached and at
            the end; None to ask nobody. It must leave torch's settings as they are; what it draws does not matter.

    Raises:
        DivergenceError: Gradients are finite no more, and going back did not help or is not wanted.
        WorkerError: Another process is gone.
        GanforgeError: A file cannot be written.
    """
    training = config.training
    seconds_before, start = state.seconds, time.perf_counter()
    saved = start
    take_step = make_stepper(engine)
    workers, stepped = engine.workers, training.batch * training.d_steps
    with StopRequest(callback.note, echoes=is_launched()) as request, record.writer:
        if state.images == 0:
            record.draw()
            record.save()
        end = GO
        while not has_images(training, state):
            # All processes of a team stop after the same step.
            wish = request.signal + SPENT if request.signal else SPENT if has_minutes(training, state) else GO
            if end := workers.vote(wish):
                break
            iteration = state.images // stepped
            seed_everything(training.seed, "step", iteration, *[f"again {state.rollbacks}"] * bool(state.rollbacks))
            state.follow_schedules(config.optimizer)

            # New real and new latent vectors for each of the discriminator's steps; then it and the generator step.
            shown = [
                read_batch(state, batches, engine, state.images + number * training.batch, training.batch)
                for number in range(training.d_steps)
            ]
            for row in take_step(state, shown, iteration):
                record.statistics.add(row)

            # The generator's average.
            update_average(
                state.average,
                state.generator,
                images=stepped,
                shown=state.images,
                half_life=training.ema_images.at(state.images),
            )

            # Steps that had to be skipped, one after the other, will not come right by themselves.
            if iteration % PATIENCE == PATIENCE - 1 and state.streak >= PATIENCE:
                callback.note(roll_back(record, engine.device))
                take_step = make_stepper(engine)
                seconds_before, start = state.seconds, time.perf_counter()
                continue

            # How good the average is by now; what is still under way on the device is training, the rest is not.
            improved = False
            if scorer is not None and is_score_due(training, state):
                engine.finish()
                paused = time.perf_counter()
                state.seconds = seconds_before + paused - start
                callback.score(*record.score(scorer))
                improved = record.best is record.last
                start += time.perf_counter() - paused

            # What is shown and kept.
            now = time.perf_counter()
            state.seconds = seconds_before + now - start
            callback.step(state.images, state.seconds)
            ticked = record.due
            if ticked:
                callback.tick(record.tick())
                for problem in record.take_problems():
                    callback.note(problem)
            every = training.checkpoint_images
            due = ticked and now - saved > CHECKPOINT_SECONDS if every is None else state.images % every < stepped
            # It comes last, so that whoever goes on from it begins with the next step. Where steps have to be skipped,
            # an older checkpoint is the better one, and is not to be pushed out.
            if (due or improved) and not state.streak and not is_spent(training, state):
                record.save()
                saved = now

        stopped = None if end in (GO, SPENT) else signal.Signals(end - SPENT)
        if stopped is None:
            if state.streak >= PATIENCE:
                raise give_up(record)
            if scorer is not None and (record.last is None or record.last.images < state.images):
                callback.score(*record.score(scorer))
            if record.pending:
                callback.tick(record.tick())
        record.save()
    record.animate()  # if it comes to nothing, a resume makes it
    for problem in record.take_problems():
        callback.note(problem)
    record.writer.finish()
    return Outcome(state.images, state.seconds, stopped)


def is_spent(training: TrainingConfig, state: TrainingState) -> bool:
    """Whether a run has had its budget of images or of minutes."""
    return has_images(training, state) or has_minutes(training, state)


def has_images(training: TrainingConfig, state: TrainingState) -> bool:
    """Whether a run has had its budget of images."""
    return training.images is not None and state.images >= training.images


def has_minutes(training: TrainingConfig, state: TrainingState) -> bool:
    """Whether a run has had its budget of minutes."""
    return training.minutes is not None and state.seconds >= 60 * training.minutes


def is_score_due(training: TrainingConfig, state: TrainingState) -> bool:
    """Whether the step just taken reached a multiple of ``eval_every`` images."""
    step = training.batch * training.d_steps
    return training.eval_every is not None and state.images % training.eval_every < step
