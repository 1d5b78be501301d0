"""A run from its configuration to its end, for whoever wants one: the command line, or a program."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from ganforge.config.schema import RunConfig, TrainingConfig
from ganforge.contract.errors import OptionError
from ganforge.core.atomic_files import append_line
from ganforge.core.cache import sweep_cache
from ganforge.core.distributed import ALONE, Workers
from ganforge.core.json_schema import to_json
from ganforge.data.pack import open_data
from ganforge.data.store import PackedData
from ganforge.evaluation.results.result import describe_device, now, software_versions
from ganforge.evaluation.scoring import build_scorer, check_scoring
from ganforge.plugins.registry import Registry
from ganforge.runs.folder import RunFolder
from ganforge.training.budget import BudgetCallback, suggest_budget
from ganforge.training.execution.autotune import choose_plan
from ganforge.training.execution.engine import Engine
from ganforge.training.execution.memory_advice import advising_on_memory
from ganforge.training.loop import Callback, Callbacks, Outcome, is_spent, train
from ganforge.training.recording.loggers import Loggers
from ganforge.training.recording.recorder import Recorder, Score, Scorer
from ganforge.training.recording.recovery import resume
from ganforge.training.start import (
    init_from,
    open_batches,
    open_engine,
    open_recorder,
    set_default_budget,
    split_batches,
)
from ganforge.training.state import build_state


class Console(Protocol):
    """Whoever tells a person how a run goes."""

    def say(self, text: str) -> None:
        """Show a line."""

    def progress(self, title: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Show how far a block is; it calls what it gets with how much is done, and of how much."""

    def cache(self) -> AbstractContextManager[Path]:
        """Where things may be kept that can be made again."""

    def watch(self, log: Path | None, training: TrainingConfig) -> AbstractContextManager[Callback]:
        """Show a run while a block runs, and write it into a log, if there is one."""


@dataclass(frozen=True)
class Finished:
    """A run that came to its end, or was stopped.

    Attributes:
        folder: Where all of it lies.
        outcome: How it ended.
        best: The best score, or None.
        last: The newest one, or None.
    """

    folder: RunFolder
    outcome: Outcome
    best: Score | None
    last: Score | None


class Trainer:
    """A run that is ready to begin: its data are open and its players are built.

    Args:
        config: What settles it.
        registry: Where names are looked up.
        device: Where it is computed.
        console: Whoever tells of it.
        workers: The processes that train together.

    Raises:
        OptionError: What was asked for cannot be had.
        DataError: The data cannot be read.
        PluginError: A part could not be made.

    Attributes:
        config: As given, with budget and parts of a batch settled.
    """

    def __init__(
        self, config: RunConfig, registry: Registry, device: torch.device, console: Console, workers: Workers = ALONE
    ) -> None:
        self._registry, self._device, self._console, self._team = registry, device, console, workers
        with workers.main_first():
            self._data = self._open_data(config)
        check_scoring(config.training, self._data)
        self.config = split_batches(set_default_budget(config, device), workers)
        self._loggers = {
            each.name: registry.build("logger", each.name, each.options) for each in config.loggers if workers.is_main
        }
        with advising_on_memory(self.config, self._data.spec):
            self._state = build_state(self.config, registry, self._data.spec, device)
        self._batches = open_batches(self.config.training, self._data, device)

    def begin_from(self, weights: Path) -> None:
        """Begin with the weights of another run.

        Args:
            weights: A checkpoint or a saved generator.

        Raises:
            CheckpointError: The file is damaged, or its networks are others.
        """
        self.config = replace(self.config, training=replace(self.config.training, init_from=str(weights.resolve())))
        self._console.say(init_from(self._state, weights))

    def start(self, out: Path, name: str | None = None) -> Finished:
        """Train a new run.

        Args:
            out: The folder of all runs.
            name: Of its folder, behind the number; None for one that says what it is.

        Raises:
            DivergenceError: Gradients or scores are finite no more.
            OutOfMemory: A step does not fit.
            WorkerError: Another process is gone.
            GanforgeError: A file cannot be written.
        """
        workers, config = self._team, self.config
        scorer, engine = self._open_scorer(), self._open_engine()
        name = name or "-".join(dict.fromkeys((config.recipe, config.loss.name, self._data.name)))
        made = RunFolder.create(out, name).path if workers.is_main else out
        folder = RunFolder(Path(workers.broadcast_bytes(str(made).encode()).decode()))
        with self._held(folder):
            return self._run(self._open_record(folder), scorer, engine)

    def resume(self, folder: RunFolder) -> Finished:
        """Go on with a run where it was stopped; see `start` for errors.

        Raises:
            OptionError: It has nothing left to do, or another process trains it.
            CheckpointError: Its checkpoints are damaged, or belong to other data or other networks.
        """
        with self._held(folder):
            record, state = self._open_record(folder), self._state
            self._console.say(resume(record, self._device))
            if is_spent(self.config.training, state):
                record.animate()  # it may have been killed before it could
                spent = f"{state.images} images in {state.seconds / 60:.1f} minutes"
                more = suggest_budget(self.config.training, state.images, state.seconds)
                raise OptionError(
                    f"{folder.path} has spent its budget: it has had {spent}",
                    f"{more.split()[0]} is the total of all sittings: use {more}",
                )
            scorer, engine = self._open_scorer(), self._open_engine()
            return self._run(record, scorer, engine)

    def _held(self, folder: RunFolder) -> AbstractContextManager[None]:
        """The lock of a run, for the process that writes it."""
        return folder.hold() if self._team.is_main else nullcontext()

    def _open_data(self, config: RunConfig) -> PackedData:
        sweep_cache()
        with self._console.progress("preparing data") as progress:
            data = open_data(
                config.data.source,
                resolution=config.data.resolution,
                options=config.data.options,
                registry=self._registry,
                progress=progress,
                skip_bad=config.data.skip_bad,
            )
        if data.note:
            self._console.say(data.note)
        return data

    def _open_scorer(self) -> Scorer | None:
        if self.config.training.eval_every is None:
            return None
        # What is needed of the cache later is in memory by then, or mapped.
        with self._team.main_first(), self._console.cache() as cache:
            return build_scorer(
                self.config.training,
                self._data,
                self._device,
                self._registry,
                cache=cache,
                workers=self._team,
                progress=self._console.progress,
                say=self._console.say,
            )

    def _open_engine(self) -> Engine:
        """Settle how steps are computed, if that is left open, and make what computes them."""
        say, workers = self._console.say, self._team
        self.config = choose_plan(self.config, self._state, self._batches, self._device, say, workers)
        return open_engine(self.config.training, self._state, self._device, say, workers)

    def _open_record(self, folder: RunFolder) -> Recorder:
        return open_recorder(self.config, self._registry, self._data, folder, self._state, self._team)

    def _describe_environment(self, engine: Engine) -> dict[str, Any]:
        """Where and with what this sitting is computed."""
        plugins = {each.distribution: each.version for each in self._registry.plugins if each.status == "ok"}
        return {
            "began": now(),
            "images": self._state.images,
            "device": describe_device(engine.device),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "processes": self._team.size,
            "plan": engine.plan.describe(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "versions": software_versions(),
            "plugins": {name: version for name, version in plugins.items() if name != "ganforge"},
        }

    def _run(self, record: Recorder, scorer: Scorer | None, engine: Engine) -> Finished:
        config, state, workers, folder, say = self.config, self._state, self._team, record.folder, self._console.say
        training, spec = config.training, self._data.spec
        with advising_on_memory(config, spec):
            if workers.is_main:
                folder.write_config(config.tree())
                append_line(folder.environment, to_json(self._describe_environment(engine)))
            shape = "x".join(map(str, spec.shape))
            say(f"{config.recipe}, loss {config.loss.name}, on {len(self._data)} of {self._data.name} ({shape})")
            say(
                f"on {engine.device.type}{f', {workers.size} processes' * (workers.size > 1)}: {engine.plan.describe()}"
            )
            if training.images is None or training.minutes is not None:
                length = f"for {training.minutes:g} minutes; --minutes or --images sets another length"
                say(f"{length}, Ctrl-C stops and keeps all")
            loggers = Loggers(self._loggers, record.writer, say)
            loggers.start(folder.path, config.tree(), state.images)
            try:
                with self._console.watch(folder.log if workers.is_main else None, training) as display:
                    budget = BudgetCallback(training, state.images, state.seconds, display.note)
                    callback = Callbacks(display, loggers, budget)
                    outcome = train(state, self._batches, record, config, callback, engine, scorer)
                    if outcome.stopped is None:
                        budget.finish()
            finally:
                loggers.finish()
        workers.close()
        return Finished(folder, outcome, record.best, record.last)
