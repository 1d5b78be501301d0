"""Timing of cases that take turns, so that drifts of the machine's speed affect all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

WARM_UP = 3  # untimed calls of each case, for allocators, compilers and CUDA graphs
LEAST_SAMPLES = 3  # minimum number of samples per case
MOST_SAMPLES = 20  # approximate maximum number of samples per case; fast calls are timed together
MOST_CALLS = 16  # maximum number of calls per sample, whose inputs are prepared before

Case = Callable[[int], Callable[[], object]]
"""Prepares a number of calls, untimed, and returns a function that makes them."""


def repeat(work: Callable[[], object]) -> Case:
    """Return a case without preparation."""

    def run(calls: int) -> None:
        for _ in range(calls):
            work()

    return lambda calls: partial(run, calls)


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median, minimum and maximum over the samples."""

    median: float
    least: float
    most: float
    samples: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Summarize samples."""
        return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))

    def tree(self) -> dict[str, float]:
        """Return the timing for JSON."""
        names = ("median_seconds", "min_seconds", "max_seconds", "samples")
        return dict(zip(names, (self.median, self.least, self.most, self.samples), strict=True))


def weighted_mean(timings: Sequence[Timing], shares: Sequence[float]) -> Timing:
    """Return the weighted mean of timings; the shares sum to 1."""
    pairs = list(zip(timings, shares, strict=True))
    return Timing(
        median=sum(share * each.median for each, share in pairs),
        least=sum(share * each.least for each, share in pairs),
        most=sum(share * each.most for each, share in pairs),
        samples=min(each.samples for each in timings),
    )


def measure_cases(cases: Mapping[str, Case], seconds: float, finish: Callable[[], None]) -> dict[str, list[float]]:
    """Time cases in turns, for about `seconds` each; return the seconds per call of each sample."""
    calls = {}
    for name, case in cases.items():
        time_calls(case, WARM_UP, finish)
        once = time_calls(case, 1, finish)
        calls[name] = max(1, min(MOST_CALLS, int(seconds / MOST_SAMPLES / once)))
    samples = {name: partial(time_calls, case, calls[name], finish) for name, case in cases.items()}
    return {name: [each / calls[name] for each in taken] for name, taken in take_turns(samples, seconds).items()}


def take_turns(samples: Mapping[str, Callable[[], float]], seconds: float) -> dict[str, list[float]]:
    """Call the functions until each has used its seconds; the next is always the one with the least total."""
    taken: dict[str, list[float]] = {name: [] for name in samples}
    while unfinished := [name for name, each in taken.items() if len(each) < LEAST_SAMPLES or sum(each) < seconds]:
        name = min(unfinished, key=lambda each: sum(taken[each]))
        taken[name].append(samples[name]())
    return taken


def alternate(samples: Mapping[str, Callable[[], float]], seconds: float) -> dict[str, list[float]]:
    """Call the functions in strict rotation until they have used `seconds` each on average; samples of a round pair."""
    taken: dict[str, list[float]] = {name: [] for name in samples}
    rounds = 0
    while rounds < LEAST_SAMPLES or sum(map(sum, taken.values())) < seconds * len(taken):
        for name, sample in samples.items():
            taken[name].append(sample())
        rounds += 1
    return taken


def time_calls(case: Case, calls: int, finish: Callable[[], None]) -> float:
    """Return the seconds of a number of calls."""
    run = case(calls)
    finish()
    start = time.perf_counter()
    run()
    finish()
    return time.perf_counter() - start
