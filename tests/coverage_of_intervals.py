"""Measure how often the 95 % intervals of ``ganforge eval`` cover, and how often equal generators get a false best.

    python tests/coverage_of_intervals.py --repetitions 300

Features are Gaussian, drawn anew in each repetition; an interval covers if it holds the mean of the value over all
repetitions, that is the value expected of as many images. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from ganforge.builtin.metrics import METRICS
from ganforge.evaluation.features import FeatureSet
from ganforge.evaluation.metrics.path_length import mean_without_outliers, path_length_interval
from ganforge.evaluation.results.comparability import judge
from ganforge.evaluation.results.result import Evaluation, Measured
from ganforge.evaluation.statistics import authenticity, share_interval
from ganforge.evaluation.statistics.memorization import duplicates_interval

LEAST = 0.92
"""Coverage below which an interval of 95 % is too narrow, over 300 repetitions."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A situation in which values and intervals are drawn.

    Attributes:
        kind: The metric that is measured, as its flag is called.
        title: Description.
        draw: Gives the measured values of one repetition.
    """

    kind: str
    title: str
    draw: Callable[[torch.Generator], list[Measured]]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Coverage of one metric in one situation.

    Attributes:
        metric: Its name.
        title: The situation.
        expected: Mean value.
        share: Share of the intervals that hold it.
        width: Median width.
        empty: Share of the intervals without width.
    """

    metric: str
    title: str
    expected: float
    share: float
    width: float
    empty: float


def sets_of(metric: str, dims: int, reals: int, fakes: int, *, scale: float = 1.0, shift: float = 0.0) -> Case:
    """Real features from N(0, I), generated ones from N(shift, scale^2 I)."""

    def draw(source: torch.Generator) -> list[Measured]:
        real, fake = (torch.randn(count, dims, generator=source) for count in (reals, fakes))
        fake = fake * scale + shift
        return METRICS[metric]().measure(FeatureSet(real), FeatureSet(fake, logits=fake))

    others = "".join(
        f", {name} {value:g}" for name, value in (("scale", scale), ("shift", shift)) if value != (name == "scale")
    )
    return Case(kind=metric, title=f"D {dims}, {reals:,} real, {fakes:,} generated{others}", draw=draw)


def shares_of(name: str, truth: float, count: int) -> Case:
    """Independent trials: classes that are read or told."""

    def draw(source: torch.Generator) -> list[Measured]:
        share = (torch.rand(count, generator=source) < truth).double().mean().item()
        return [Measured(name=name, value=share, interval=share_interval(share, count))]

    return Case(kind=name, title=f"{count:,} images, truth {truth:g}", draw=draw)


def duplicates_of(samples: int, unseen: int, copied: float) -> Case:
    """Distances of samples, some of which are copies, and those of unseen images."""

    def draw(source: torch.Generator) -> list[Measured]:
        ours, theirs = (torch.randn(count, 4, generator=source).double().norm(dim=1) for count in (samples, unseen))
        ours[torch.rand(samples, generator=source) < copied] = 0
        interval = duplicates_interval(ours, theirs)
        return [Measured(name="memorization", value=interval.value, interval=interval)]

    return Case(kind="memorization", title=f"{samples:,} samples, {unseen:,} unseen, {copied:.0%} copies", draw=draw)


def authentic_of(reals: int, fakes: int, *, spread: float = 1.0, copied: float = 0.0) -> Case:
    """Samples in 4 dimensions, some of which are noisy copies of training points, always the same."""
    real = torch.randn(reals, 4, generator=torch.Generator().manual_seed(0))

    def draw(source: torch.Generator) -> list[Measured]:
        fake = torch.randn(fakes, 4, generator=source)
        copies = torch.rand(fakes, generator=source) < copied
        originals = real[torch.randint(reals, (fakes,), generator=source)]
        fake = torch.where(copies[:, None], originals + 0.02 * fake, spread * fake)
        share = authenticity(real, fake)
        return [Measured(name="authenticity", value=share, interval=share_interval(share, fakes))]

    title = f"{reals:,} real, {fakes:,} generated, deviation {spread:g}, {copied:.0%} copies"
    return Case(kind="authenticity", title=title, draw=draw)


def lengths_of(count: int, spread: float) -> Case:
    """Lengths of ways, log-normal as squared distances of images are."""

    def draw(source: torch.Generator) -> list[Measured]:
        mean, error = mean_without_outliers(torch.randn(count, dtype=torch.float64, generator=source).mul(spread).exp())
        return [Measured(name="ppl", value=mean, interval=path_length_interval(mean, error, count))]

    return Case(kind="ppl", title=f"{count:,} ways, log-normal, deviation {spread:g}", draw=draw)


CASES = [
    *(sets_of("fid", 8, 5000, 2000, shift=shift) for shift in (0.0, 0.1, 1.0)),
    sets_of("fid", 8, 50, 50),
    sets_of("fid", 64, 500, 100),
    *(sets_of("fid-infinity", 8, 5000, 2000, shift=shift) for shift in (0.0, 0.1, 1.0)),
    sets_of("fid-infinity", 8, 300, 100),
    sets_of("fid-infinity", 64, 2000, 1000, scale=0.9),
    *(sets_of("kid", 8, 300, 200, shift=shift) for shift in (0.0, 0.3)),
    sets_of("kid", 8, 50, 50),
    *(sets_of("is", 8, 20, 1000, scale=scale) for scale in (0.1, 3.0)),
    sets_of("is", 8, 20, 50, scale=3.0),
    sets_of("prc", 8, 500, 500),
    sets_of("prc", 8, 200, 50, scale=0.6),
    sets_of("prc", 8, 50, 50, scale=0.6),
    sets_of("prc", 8, 50, 500, scale=0.8),
    sets_of("prc", 8, 200, 200, scale=1.5),
    sets_of("prc", 8, 200, 200, shift=1.2),
    sets_of("prc", 8, 100, 100, shift=2.0),
    sets_of("prc", 2, 100, 20, scale=0.3),
    *(sets_of("cmmd", 8, 300, 200, shift=shift) for shift in (0.0, 0.3)),
    sets_of("cmmd", 8, 50, 50, shift=1.0),
    authentic_of(1000, 1000),
    authentic_of(100, 1000),
    authentic_of(300, 300, spread=0.3),
    authentic_of(200, 100, copied=0.5),
    duplicates_of(1000, 1000, 0.0),
    duplicates_of(1000, 100, 0.0),
    duplicates_of(200, 1000, 0.5),
    duplicates_of(100, 40, 0.99),
    *(shares_of("conditional-accuracy", truth, count) for truth in (0.5, 0.99, 0.999) for count in (50, 1000)),
    *(shares_of("discriminator-accuracy", truth, count) for truth in (0.02, 0.9) for count in (20, 500)),
    lengths_of(100, 0.5),
    *(lengths_of(1000, spread) for spread in (0.5, 1.5)),
]


def measure(case: Case, repetitions: int, seed: int = 0) -> Iterator[Coverage]:
    """Coverage of each metric of a case."""
    source = torch.Generator().manual_seed(seed)
    rows = [case.draw(source) for _ in range(repetitions)]
    for found in zip(*rows, strict=True):
        values = [each.value for each in found]
        expected = sum(values) / len(values)
        known = [each.interval for each in found]
        widths = torch.tensor([each.high - each.low for each in known], dtype=torch.float64)
        yield Coverage(
            metric=found[0].name,
            title=case.title,
            expected=expected,
            share=sum(each.low <= expected <= each.high for each in known) / len(known),
            width=widths.median().item(),
            empty=(widths == 0).double().mean().item(),
        )


def count_false_bests(
    metric: str, pairs: int, *, dims: int = 8, reals: int = 2000, fakes: int = 1000, seed: int = 1
) -> dict[str, int]:
    """Numbers of pairs of equal generators with a false best, by metric."""
    source, counts = torch.Generator().manual_seed(seed), {}
    for _ in range(pairs):
        real = torch.randn(reals, dims, generator=source)
        sides = [torch.randn(fakes, dims, generator=source).mul(0.9) for _ in range(2)]
        found = [METRICS[metric]().measure(FeatureSet(real), FeatureSet(each, logits=each)) for each in sides]
        for both in zip(*found, strict=True):
            rows = {label: _row(each) for label, each in zip("AB", both, strict=True)}
            counts[both[0].name] = counts.get(both[0].name, 0) + (judge(both[0].name, rows).best is not None)
    return counts


def _row(each: Measured) -> Evaluation:
    return Evaluation(
        metric=each.name, value=each.value, interval=each.interval, better=each.better, protocol={}, subject={},
        circumstances={},
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--only", default="", help="only cases of this metric, such as fid-infinity")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| metric | features | expected value | coverage | median width |\n| --- | --- | --- | --- | --- |")
    worst = math.inf
    for case in (each for each in CASES if asked.only in each.kind):
        for each in measure(case, asked.repetitions):
            worst = min(worst, each.share)
            flag = " **too low**" if each.share < LEAST else ""
            print(
                f"| `{each.metric}` | {each.title} | {each.expected:.4g} | {each.share:.3f}{flag} | {each.width:.3g} |",
                flush=True,
            )
    print(f"\nleast coverage {worst:.3f}\n\n| metric | false bests of {asked.pairs} pairs |\n| --- | --- |")
    for name, count in itertools.chain.from_iterable(
        count_false_bests(each, asked.pairs).items() for each in METRICS if asked.only in each
    ):
        print(f"| `{name}` | {count} |", flush=True)


if __name__ == "__main__":
    main()
