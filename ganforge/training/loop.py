"""Training loop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ganforge.config.schema import RunConfig, TrainingConfig
from ganforge.core.distributed import is_launched
from ganforge.core.seeding import seed_everything
from ganforge.training.execution.cuda_graphs import make_stepper
from ganforge.training.execution.engine import Engine
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording.recorder import Recorder, Score, Scorer
from ganforge.training.recording.recovery import divergence_error, roll_back
from ganforge.training.signals import StopRequest
from ganforge.training.state import TrainingState
from ganforge.training.steps import read_batch

CHECKPOINT_SECONDS = 300.0  # default interval between checkpoints
PATIENCE = 16  # number of consecutive steps with non-finite gradients after which training rolls back

GO, SPENT = 0, 1
"""Votes before a step: continue, or stop because the time is up or a callback asks for it.

A stop signal votes with its number plus ``SPENT``.
"""


class Observer(Protocol):
    """Receives the progress of a run; methods that are not overridden do nothing."""

    def step(self, images: int, seconds: float) -> None:
        """Handle a finished step: images and seconds of training so far."""
        return

    def tick(self, row: dict[str, Any]) -> None:
        """Handle a row of metrics; ``picture`` is the path of the newest sample grid."""
        return

    def note(self, text: str) -> None:
        """Handle a message of one line."""
        return

    def score(self, row: dict[str, Any], best: Score) -> None:
        """Handle a row of scores, and the best score so far."""
        return


class Observers(Observer):
    """Forwards to several observers."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def step(self, images: int, seconds: float) -> None:
        for each in self._observers:
            each.step(images, seconds)

    def tick(self, row: dict[str, Any]) -> None:
        for each in self._observers:
            each.tick(row)

    def note(self, text: str) -> None:
        for each in self._observers:
            each.note(text)

    def score(self, row: dict[str, Any], best: Score) -> None:
        for each in self._observers:
            each.score(row, best)


@dataclass(frozen=True)
class Outcome:
    """Result of training: images seen, seconds over all sessions, and the signal that stopped it, or None."""

    images: int
    seconds: float
    stopped: signal.Signals | None


def train(
    state: TrainingState,
    batches: Batches,
    recorder: Recorder,
    config: RunConfig,
    observer: Observer,
    engine: Engine,
    scorer: Scorer | None = None,
    wants_stop: Callable[[], bool] = lambda: False,
    saved: Callable[[int], None] = lambda images: None,
) -> Outcome:
    """Train until the budget is spent or a signal arrives, then save.

    The scorer evaluates the EMA every ``eval_every`` images and at the end; it must not change torch's settings.
    Training also ends, as if the budget were spent, if `wants_stop` in any process. `saved` is called with the
    number of images after each checkpoint, which the background writer writes.

    Raises:
        DivergenceError: Gradients are non-finite, and rollback is disabled or did not help.
        WorkerError: Another process failed.
        GanforgeError: A file cannot be written.
    """
    training = config.training
    seconds_before, start = state.seconds, time.perf_counter()
    saved_at = start
    take_step = make_stepper(engine)
    workers, stepped = engine.workers, training.batch * training.batches
    with StopRequest(observer.note, echoes=is_launched()) as request, recorder.writer:
        if state.images == 0:
            recorder.draw()
            recorder.draw_reals()
            recorder.save()
            saved(0)
        end = GO
        while not has_images(training, state):
            # All processes stop after the same step.
            ended = has_minutes(training, state) or wants_stop()
            vote = request.signal + SPENT if request.signal else SPENT if ended else GO
            if end := workers.vote(vote):
                break
            iteration = state.images // stepped
            seed_everything(training.seed, "step", iteration, *[f"again {state.rollbacks}"] * bool(state.rollbacks))
            state.apply_schedules(config.optimizer)

            # A batch for each discriminator step, then one step of all players.
            shown = [
                read_batch(state, batches, engine, state.images + number * training.batch, training.batch)
                for number in range(training.batches)
            ]
            for row in take_step(state, shown, iteration):
                recorder.statistics.add(row)

            # Exponential moving averages of the generators.
            state.update_ema(stepped, training.ema_images.at(state.images))

            # Roll back after many consecutive skipped steps.
            if iteration % PATIENCE == PATIENCE - 1 and state.streak >= PATIENCE:
                observer.note(roll_back(recorder, engine.device))
                take_step = make_stepper(engine)
                seconds_before, start = state.seconds, time.perf_counter()
                continue

            # Score the EMA; its time does not count as training time.
            improved = False
            if scorer is not None and training.eval_every and state.images % training.eval_every < stepped:
                engine.finish()
                paused = time.perf_counter()
                state.seconds = seconds_before + paused - start
                observer.score(*recorder.score(scorer))
                improved = recorder.best is recorder.last
                start += time.perf_counter() - paused

            # Metrics, sample grids and checkpoints.
            now = time.perf_counter()
            state.seconds = seconds_before + now - start
            observer.step(state.images, state.seconds)
            ticked = recorder.due
            if ticked:
                observer.tick(recorder.tick())
                for problem in recorder.pop_problems():
                    observer.note(problem)
            every = training.checkpoint_images
            due = ticked and now - saved_at > CHECKPOINT_SECONDS if every is None else state.images % every < stepped
            # A checkpoint comes last, so that a resumed run starts with the next step. None is written while steps are
            # skipped: an older checkpoint is better.
            if (due or improved) and not state.streak and not is_spent(training, state):
                recorder.save()
                saved(state.images)
                saved_at = now

        stopped = None if end in (GO, SPENT) else signal.Signals(end - SPENT)
        if stopped is None:
            if state.streak >= PATIENCE:
                raise divergence_error(recorder)
            if scorer is not None and (recorder.last is None or recorder.last.images < state.images):
                observer.score(*recorder.score(scorer))
            if recorder.pending:
                observer.tick(recorder.tick())
        recorder.save()
        saved(state.images)
    recorder.animate()
    for problem in recorder.pop_problems():
        observer.note(problem)
    recorder.writer.finish()
    return Outcome(state.images, state.seconds, stopped)


def is_spent(training: TrainingConfig, state: TrainingState) -> bool:
    """Return whether the budget is spent."""
    return has_images(training, state) or has_minutes(training, state)


def has_images(training: TrainingConfig, state: TrainingState) -> bool:
    """Return whether the budget of images is spent."""
    return training.images is not None and state.images >= training.images


def has_minutes(training: TrainingConfig, state: TrainingState) -> bool:
    """Return whether the budget of minutes is spent."""
    return training.minutes is not None and state.seconds >= 60 * training.minutes
