"""Search for settings by successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943), in at most three rounds.

Every combination of the values is trained for a short time, the best, as many as the square root of their number,
longer, and the best of these to the end. Each is a run, which later rounds resume. Finished rounds are read from the
rows of scores.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from ganforge.config.schema import RunConfig, resolve
from ganforge.config.sources import nest
from ganforge.contract.errors import CheckpointError, DivergenceError, OptionError
from ganforge.core.atomic_files import lock_file, read_text, write_bytes
from ganforge.core.device import choose_device
from ganforge.core.json_schema import PositiveInt, decode, to_json
from ganforge.data.pack import open_configured
from ganforge.evaluation.scoring import check_scoring
from ganforge.plugins.registry import Registry
from ganforge.runs.folder import RunFolder, is_foreign
from ganforge.runs.metric_rows import read_rows
from ganforge.session.trainer import Console, Trainer
from ganforge.training.state import build_state

GROWTH = 4
"""Images of a run in a round, per image in the round before."""

MOST = 256
"""Maximum number of combinations."""

GAMMA_FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Factors of the weights of penalties that are tried by default."""

RATE_FACTORS = (0.5, 1.0, 2.0)
"""Factors of the learning rates that are tried by default."""

PENALTIES = ("r1", "r2", "gp", "dragan")
"""Regularizers whose weight is a gamma."""


@dataclass(frozen=True)
class Axis:
    """Settings by path, such as ``generator.width``, that change together, and their values as text, one each."""

    keys: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plan:
    """A search, as stored in ``tune.json``; it has a budget in images or in minutes.

    Attributes:
        config: Configuration of all runs, by section.
        trials: Settings of each run by path, as text.
        images: Images of a run of the last round, or None.
        minutes: Minutes of all runs together, or None.
    """

    config: dict[str, Any]
    trials: list[dict[str, str]]
    images: PositiveInt | None
    minutes: float | None

    @property
    def rounds(self) -> list[int]:
        """Number of runs in each round."""
        count = len(self.trials)
        return sorted({count, math.ceil(math.sqrt(count)), 1}, reverse=True)

    def budget(self, index: int) -> dict[str, Any]:
        """Return the budget of each run until the end of a round, as options of ``training``."""
        if self.images is not None:
            return {"images": max(1, self.images // GROWTH ** (len(self.rounds) - 1 - index))}
        shares = (1 / count for count in self.rounds[: index + 1])
        assert self.minutes is not None
        return {"minutes": self.minutes / len(self.rounds) * sum(shares)}

    def check(self) -> None:
        """Raise ValueError without a run, or without one budget."""
        if not self.trials or (self.images is None) == (self.minutes is None):
            raise ValueError("it needs runs, and a budget in images or in minutes")


@dataclass(frozen=True)
class Result:
    """Score of a run at the end of a round: lower is better, infinite if it diverged."""

    round: int
    trial: int
    run: Path
    score: float
    images: int


def parse_axis(text: str) -> Axis:
    """Parse ``regularizers.r1.weight,regularizers.r2.weight=0.1,1,10``."""
    keys, _, values = text.partition("=")
    names, choices = (tuple(each.strip() for each in side.split(",")) for side in (keys, values))
    if not all(names) or not all(choices) or len(set(choices)) < 2:
        raise OptionError(
            f"--vary {text}: is not of the form section.option=value,value",
            "such as --vary regularizers.r1.weight=0.1,1,10",
        )
    return Axis(names, tuple((each,) * len(names) for each in choices))


def default_axes(config: RunConfig) -> list[Axis]:
    """Return the weights of gradient penalties and the learning rates, each times a few factors."""
    weights = {
        f"regularizers.{each.name}.weight": each.weight.at(0) for each in config.regularizers if each.name in PENALTIES
    }
    rates = {f"optimizer.{player}_lr": each.lr.at(0) for player, each in config.optimizer.items()}
    axes = []
    for values, factors in ((weights, GAMMA_FACTORS), (rates, RATE_FACTORS)):
        if values and min(values.values()) > 0:
            tried = tuple(tuple(f"{value * factor:g}" for value in values.values()) for factor in factors)
            axes.append(Axis(tuple(values), tried))
    if not axes:
        raise OptionError(f"recipe '{config.recipe}' has no gamma or rate", "add --vary PART.OPTION=VALUE,VALUE")
    return axes


def make_plan(config: RunConfig, axes: Sequence[Axis]) -> Plan:
    """Plan a search over all combinations of the values; raise OptionError if there are more than `MOST`."""
    count = math.prod(len(each.values) for each in axes)
    if count > MOST:
        raise OptionError(f"--vary: {count} combinations are too many", f"the most is {MOST}")
    trials = [
        {
            key: value
            for axis, chosen in zip(axes, values, strict=True)
            for key, value in zip(axis.keys, chosen, strict=True)
        }
        for values in product(*(each.values for each in axes))
    ]
    images, minutes = config.training.images, config.training.minutes
    if images is not None and minutes is not None:
        raise OptionError(f"--images {images} and --minutes {minutes:g}: two budgets", "omit one")
    return Plan(config.tree(), trials, images, minutes)


def check_plan(plan: Plan, registry: Registry) -> None:
    """Resolve the settings of all runs, before data are opened.

    Raises:
        OptionError: A combination is invalid.
    """
    for each in plan.trials:
        resolve(registry, plan.config, nest(each))


class Search:
    """A search in a folder of its own, with ``tune.json`` and the runs."""

    def __init__(self, folder: Path, registry: Registry, console: Console) -> None:
        self.folder, self._registry, self._console = folder, registry, console
        path = folder / "tune.json"
        try:
            if is_foreign(folder):
                raise OptionError(f"{folder} belongs to another user", "copy the folder to resume the search")
            self.plan = decode(read_text(path, follow=False), Plan)
            self.plan.check()
        except FileNotFoundError:
            raise OptionError(f"{folder}: not a folder of a search", "it has a tune.json") from None
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error}", "start a new search") from error

    @classmethod
    def create(cls, out: Path, plan: Plan, registry: Registry, console: Console) -> Search:
        """Start a search in a new folder ``tune-00000`` of `out`; networks of each run are built first, as a check.

        Raises:
            OptionError: A combination is invalid, or the data do not fit the metric.
        """
        with console.progress("checking settings") as progress:
            for index, each in enumerate(plan.trials):
                progress(index, len(plan.trials))
                config = resolve(registry, plan.config, nest(each))
                data = open_configured(config.data, registry)
                check_scoring(config.training, data)
                build_state(config, registry, data.spec, torch.device("cpu"))
        number = 0
        while (folder := out / f"tune-{number:05d}").exists():
            number += 1
        folder.mkdir(parents=True)
        write_bytes(folder / "tune.json", to_json(asdict(plan)).encode())
        return cls(folder, registry, console)

    def run(self) -> tuple[list[Result], signal.Signals | None]:
        """Train all rounds; return the results, the last round and the best run first, and a stop signal.

        Raises:
            OptionError: Another process searches in the folder.
        """
        with self._lock():
            results: list[Result] = []
            chosen = list(range(len(self.plan.trials)))
            for index, count in enumerate(self.plan.rounds):
                ranking: list[Result] = []
                for place, trial in enumerate(chosen[:count]):
                    result: Result | signal.Signals | None = self._find(index, trial)
                    if result is None:
                        where = f"round {index + 1} of {len(self.plan.rounds)}, run {place + 1} of {count}"
                        self._console.say(f"{where}: {describe(self.plan.trials[trial])}")
                        result = self._train(index, trial)
                    if isinstance(result, signal.Signals):
                        return ranking + results, result
                    ranking.append(result)
                ranking.sort(key=lambda each: (each.score, each.trial))
                chosen = [each.trial for each in ranking]
                results = ranking + results
            return results, None

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            lock = lock_file(self.folder / "tune.lock")
        except BlockingIOError:
            raise OptionError(f"{self.folder}: another process searches there", "wait for it, or stop it") from None
        try:
            yield
        finally:
            os.close(lock)

    def _path(self, trial: int) -> Path | None:
        return next((each.parent for each in self.folder.glob(f"*-trial-{trial}/config.json")), None)

    def _find(self, index: int, trial: int) -> Result | None:
        """Return the result of a run at the end of a round, if it is finished."""
        if (path := self._path(trial)) is None:
            return None
        ((unit, limit),) = self.plan.budget(index).items()
        for row in read_rows(RunFolder(path).metrics):
            if not row.is_tick and (row.images if unit == "images" else row.seconds / 60 + 1e-4) >= limit:
                value = row.numbers[str(row.metric)]
                return Result(index, trial, path, math.inf if value is None else value, row.images)
        return None

    def _train(self, index: int, trial: int) -> Result | signal.Signals:
        """Train a run until the end of a round; return its result, or the signal that stopped it."""
        path, budget = self._path(trial), {"training": self.plan.budget(index)}
        layers = [RunFolder(path).read_config()] if path else [self.plan.config, nest(self.plan.trials[trial])]
        config = resolve(self._registry, *layers, budget)
        trainer = Trainer(config, self._registry, choose_device(config.training.device), self._console)
        try:
            finished = trainer.resume(RunFolder(path)) if path else trainer.start(self.folder, f"trial-{trial}")
        except DivergenceError as error:
            self._console.say(str(error))
            return Result(index, trial, self._path(trial) or self.folder, math.inf, 0)
        score = finished.last
        return finished.outcome.stopped or Result(
            index, trial, finished.folder.path, score.value if score else math.inf, finished.outcome.images
        )


def describe(settings: Mapping[str, str]) -> str:
    """Return settings as flags."""
    return " ".join(f"--set {key}={value}" for key, value in settings.items())
