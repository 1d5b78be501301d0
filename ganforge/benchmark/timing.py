"""Times that can be trusted on a machine that is now quicker, now slower: cases take turns, and spreads are shown."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

WARM_UP = 3
"""Calls of a case before it is timed: allocators, compilers and graphs have settled by then."""

LEAST_SAMPLES = 3
"""Samples of a case, however long they take."""

MOST_SAMPLES = 20
"""Samples of a case, about; calls that are quicker are taken together."""

MOST_CALLS = 16
"""In one sample, since what they need lies ready before."""

Case = Callable[[int], Callable[[], object]]
"""Makes ready for so many calls, which is not timed, and gives what makes them."""


def repeat(work: Callable[[], object]) -> Case:
    """A case that needs nothing to be made ready: the same call, so many times."""

    def prepare(calls: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                work()

        return run

    return prepare


@dataclass(frozen=True)
class Timing:
    """How long one call took.

    Attributes:
        median: Seconds; half of the samples took longer.
        least: Seconds of the quickest sample.
        most: Seconds of the slowest.
        samples: How many there were.
    """

    median: float
    least: float
    most: float
    samples: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """From the seconds of a call in each sample."""
        return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))

    def tree(self) -> dict[str, float]:
        """Fit for JSON."""
        return {
            "median_seconds": self.median,
            "min_seconds": self.least,
            "max_seconds": self.most,
            "samples": self.samples,
        }


def weigh(timings: Sequence[Timing], shares: Sequence[float]) -> Timing:
    """What calls of several kinds take on average.

    Args:
        timings: Of each kind.
        shares: How often each comes; their sum is 1.
    """
    pairs = list(zip(timings, shares, strict=True))
    return Timing(
        median=sum(share * each.median for each, share in pairs),
        least=sum(share * each.least for each, share in pairs),
        most=sum(share * each.most for each, share in pairs),
        samples=min(each.samples for each in timings),
    )


def measure_cases(cases: Mapping[str, Case], seconds: float, finish: Callable[[], None]) -> dict[str, list[float]]:
    """Time cases in turns, so that a slow phase of the machine hits all of them alike.

    Args:
        cases: By name.
        seconds: For each, about; `LEAST_SAMPLES` are taken anyway.
        finish: Waits until the device has done all that it was asked to.

    Returns:
        By name, the seconds of a call in each sample.
    """
    calls = {}
    for name, case in cases.items():
        time_calls(case, WARM_UP, finish)
        once = time_calls(case, 1, finish)
        calls[name] = max(1, min(MOST_CALLS, int(seconds / MOST_SAMPLES / once)))
    samples = {name: partial(time_calls, case, calls[name], finish) for name, case in cases.items()}
    return {name: [each / calls[name] for each in taken] for name, taken in take_turns(samples, seconds).items()}


def take_turns(samples: Mapping[str, Callable[[], float]], seconds: float) -> dict[str, list[float]]:
    """Take samples until each kind has had its seconds; next is always the one that has had the least so far.

    Args:
        samples: What takes a sample and gives its seconds, by name.
        seconds: For each kind.

    Returns:
        The seconds of all samples, by name.
    """
    taken: dict[str, list[float]] = {name: [] for name in samples}
    while unfinished := [name for name, each in taken.items() if len(each) < LEAST_SAMPLES or sum(each) < seconds]:
        name = min(unfinished, key=lambda each: sum(taken[each]))
        taken[name].append(samples[name]())
    return taken


def alternate(samples: Mapping[str, Callable[[], float]], seconds: float) -> dict[str, list[float]]:
    """Take one sample of each kind after the other, again and again, until all together have had their seconds.

    Args:
        samples: What takes a sample and gives its seconds, by name.
        seconds: For each kind, about.

    Returns:
        The seconds of all samples, by name; as many of each, so that those of one round are pairs.
    """
    taken: dict[str, list[float]] = {name: [] for name in samples}
    rounds = 0
    while rounds < LEAST_SAMPLES or sum(map(sum, taken.values())) < seconds * len(taken):
        for name, sample in samples.items():
            taken[name].append(sample())
        rounds += 1
    return taken


def time_calls(case: Case, calls: int, finish: Callable[[], None]) -> float:
    """The seconds of so many calls of a case; see `measure_cases` for the arguments."""
    run = case(calls)
    finish()
    start = time.perf_counter()
    run()
    finish()
    return time.perf_counter() - start
