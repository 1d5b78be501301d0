"""Training session: from a configuration to a finished run, for the command line and programs."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from ganforge.config.data import DataConfig
from ganforge.config.schema import RunConfig, TrainingConfig
from ganforge.contract.errors import OptionError
from ganforge.core.atomic_files import append_line
from ganforge.core.cache import clean_cache
from ganforge.core.distributed import ALONE, Workers
from ganforge.core.json_schema import to_json
from ganforge.data.pack import open_configured
from ganforge.data.store import PackedData
from ganforge.evaluation.reporter import Reporter
from ganforge.evaluation.results.result import describe_device, now, software_versions
from ganforge.evaluation.scoring import build_scorer, check_scoring
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.session.situations import fit
from ganforge.session.transfer import find_initial_weights
from ganforge.training.budget import BudgetObserver, suggest_budget
from ganforge.training.execution.autotune import choose_plan
from ganforge.training.execution.engine import Engine
from ganforge.training.execution.memory_advice import advising_on_memory
from ganforge.training.loop import Observer, Observers, Outcome, is_spent, train
from ganforge.training.recording.callbacks import PluginCallbacks
from ganforge.training.recording.checkpoints import share_checkpoint
from ganforge.training.recording.loggers import Loggers
from ganforge.training.recording.recorder import Recorder, Score, Scorer
from ganforge.training.recording.recovery import resume
from ganforge.training.start import open_batches, open_engine, open_recorder, set_default_budget, split_batches
from ganforge.training.state import build_state
from ganforge.training.transfer import init_from


class Console(Protocol):
    """Console interface of a training session."""

    def say(self, text: str) -> None:
        """Show a line."""

    def progress(self, title: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Show the progress of the block; yields a function of the numbers done and in total."""

    def cache(self) -> AbstractContextManager[Path]:
        """Yield the cache folder."""

    def watch(self, log: Path | None, training: TrainingConfig) -> AbstractContextManager[Observer]:
        """Show a run while the block runs, and write it to a log."""


@dataclass(frozen=True)
class Finished:
    """A finished or stopped run, with its best and newest scores."""

    folder: RunFolder
    outcome: Outcome
    best: Score | None
    last: Score | None


class Trainer:
    """A run with open data and built players; its `config` includes budget and microbatches.

    Args:
        config: Configuration of the run.
        registry: Available parts.
        device: Device of the networks.
        console: Output.
        workers: Processes of the run.
        layers: For a new run, the layers of `config`, which are resolved again for the situation of the data.
    """

    def __init__(
        self,
        config: RunConfig,
        registry: Registry,
        device: torch.device,
        console: Console,
        workers: Workers = ALONE,
        layers: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._registry, self._device, self._console, self._workers = registry, device, console, workers
        self._chosen: list[str] = []
        with workers.main_first():
            if layers:
                config, self._data, self._chosen = fit(registry, layers, device, self._open_data)
            else:
                self._data = self._open_data(config.data)
        self.config = split_batches(set_default_budget(config, device), workers)
        workers.check_equal(self._data.fingerprint, "data", "each machine must have the same data")
        workers.check_equal(
            hashlib.sha256(to_json(self.config.tree()).encode()).hexdigest(),
            "settings",
            "start the same command on each machine",
        )
        check_scoring(config.training, self._data)
        if config.training.freeze and config.training.init_from is None:
            raise OptionError(
                f"--freeze {','.join(config.training.freeze)}: these layers would keep random weights",
                "add --init-from RUN",
            )
        self._loggers, self._callbacks = (
            {each.name: registry.build(kind, each.name, each.options) for each in parts if workers.is_main}
            for kind, parts in (("logger", config.loggers), ("callback", config.callbacks))
        )
        with advising_on_memory(self.config, self._data.spec):
            self._state = build_state(self.config, registry, self._data.spec, device)
        self._batches = open_batches(self.config.training, self._data, device)

    def initialize(self, out: Path) -> None:
        """Load the initial weights of a new run, if any, which the main process finds and reads."""
        text, workers = self.config.training.init_from, self._workers
        if text is None:
            return
        path = Path(os.fsdecode(workers.on_main(lambda: os.fsencode(find_initial_weights(text, out).resolve()))))
        tensors, card = share_checkpoint(workers, lambda: read_tensors(path))
        self.config = replace(self.config, training=replace(self.config.training, init_from=str(path)))
        self._console.say(init_from(self._state, path, tensors, card))

    def start(self, out: Path, name: str | None = None) -> Finished:
        """Train a new run in the directory of all runs; the default name is recipe, loss and data."""
        self.initialize(out)
        workers, config = self._workers, self.config
        scorer, engine = self._open_scorer(), self._open_engine()
        loss = [config.loss.name] if config.training.d_steps else []
        name = name or "-".join(dict.fromkeys((config.recipe, *loss, self._data.name)))
        folder = RunFolder(Path(os.fsdecode(workers.on_main(lambda: os.fsencode(RunFolder.create(out, name).path)))))
        with self._lock(folder):
            return self._run(self._open_recorder(folder), scorer, engine)

    def resume(self, folder: RunFolder) -> Finished:
        """Resume a run."""
        with self._lock(folder):
            recorder, state = self._open_recorder(folder), self._state
            self._console.say(resume(recorder, self._device))
            if is_spent(self.config.training, state):
                recorder.animate()  # in case it was killed before that
                spent = f"{state.images} images in {state.seconds / 60:.1f} minutes"
                more = suggest_budget(self.config.training, state.images, state.seconds)
                raise OptionError(
                    f"{folder.path} has spent its budget: {spent}",
                    f"{more.split()[0]} is the total, resumes included: use {more}",
                )
            scorer, engine = self._open_scorer(), self._open_engine()
            return self._run(recorder, scorer, engine)

    @contextmanager
    def _lock(self, folder: RunFolder) -> Iterator[None]:
        with ExitStack() as stack:
            self._workers.on_main(lambda: stack.enter_context(folder.hold()))
            yield

    def _open_data(self, config: DataConfig) -> PackedData:
        clean_cache()
        with self._console.progress("preparing data") as progress:
            data = open_configured(config, self._registry, progress=progress)
        if data.note:
            self._console.say(data.note)
        return data

    def _open_scorer(self) -> Scorer | None:
        if self.config.training.eval_every is None:
            return None
        with self._console.cache() as cache:
            return build_scorer(
                self.config.training,
                self._data,
                self._device,
                self._registry,
                cache=cache,
                networks=self._state.modules().values(),
                workers=self._workers,
                reporter=Reporter(self._console.progress, self._console.say),
            )

    def _open_engine(self) -> Engine:
        """Select the execution plan, if it is ``auto``, and create the engine."""
        say, workers = self._console.say, self._workers
        with self._console.progress("choosing an execution plan"):
            self.config = choose_plan(self.config, self._state, self._batches, self._device, say, workers)
        return open_engine(self.config.training, self._state, self._device, say, workers)

    def _open_recorder(self, folder: RunFolder) -> Recorder:
        return open_recorder(self.config, self._registry, self._data, folder, self._state, self._workers)

    def _describe_environment(self, engine: Engine) -> dict[str, Any]:
        plugins = {each.distribution: each.version for each in self._registry.plugins if each.status == "ok"}
        modules = self._state.modules().items()
        return {
            "began": now(),
            "images": self._state.images,
            "device": describe_device(engine.device),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "processes": self._workers.size,
            "plan": engine.plan.describe(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "versions": software_versions(),
            "plugins": {name: version for name, version in plugins.items() if name != "ganforge"},
            "weights_sha256": {name: each.weights_sha256 for name, each in modules if hasattr(each, "weights_sha256")},
        }

    def _run(self, recorder: Recorder, scorer: Scorer | None, engine: Engine) -> Finished:
        config, state, workers, folder, say = (
            self.config,
            self._state,
            self._workers,
            recorder.folder,
            self._console.say,
        )
        training, spec = config.training, self._data.spec
        with advising_on_memory(config, spec):
            if workers.is_main:
                folder.write_config(config.tree())
                append_line(folder.environment, to_json(self._describe_environment(engine)))
            shape = "x".join(map(str, spec.shape))
            loss = f"loss {config.loss.name}" if training.d_steps else "no discriminator"
            say(f"{config.recipe}, {loss}, on {len(self._data)} of {self._data.name} ({shape})")
            for line in [*self._chosen, *state.notes]:
                say(line)
            say(
                f"on {engine.device.type}{f', {workers.size} processes' * (workers.size > 1)}: {engine.plan.describe()}"
            )
            length = f"{training.images} images" if training.minutes is None else f"{training.minutes:g} minutes"
            say(f"for {length}; --minutes or --images sets another length, Ctrl-C stops and saves")
            loggers = Loggers(self._loggers, recorder.writer, say)
            callbacks = PluginCallbacks(self._callbacks, recorder, say)
            for each in (loggers, callbacks):
                each.start(folder.path, config.tree(), state.images)
            try:
                with self._console.watch(folder.log if workers.is_main else None, training) as display:
                    budget = BudgetObserver(training, state.images, state.seconds, display.note, spec.is_image)
                    observer = Observers(display, loggers, callbacks, budget)
                    outcome = train(
                        state,
                        self._batches,
                        recorder,
                        config,
                        observer,
                        engine,
                        scorer,
                        callbacks.wants_stop,
                        callbacks.saved,
                    )
                    if outcome.stopped is None and not callbacks.reason:
                        budget.finish()
            finally:
                loggers.finish()
                callbacks.finish()
        workers.close()
        return Finished(folder, outcome, recorder.best, recorder.last)
