"""The metrics of ``ganforge eval``: what each needs, and how it is computed, written down and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ganforge.contract.errors import GanforgeError, OptionError
from ganforge.core.console import progress_bar, say

if TYPE_CHECKING:
    import torch

    from ganforge.contract.extractor import Extractor
    from ganforge.core.distributed import Workers
    from ganforge.evaluation.metrics.comparison import Comparison
    from ganforge.evaluation.results.result import Evaluation
    from ganforge.evaluation.results.rows import RunResult
    from ganforge.evaluation.subjects.runs import TrainedRun
    from ganforge.evaluation.subjects.targets import Target
    from ganforge.plugins.registry import Registry

SAMPLES = 50_000
"""Generated images for metrics by features, unless the user says otherwise; what papers take."""

SEARCHED = 10_000
"""The same where they are searched for copies alone."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for beside run and metric.

    Attributes:
        count: Number of samples; None for what the metric takes.
        references: Number of real images; None for all of the split.
        split: Which real images.
        extractor: What turns images into features: a name, with options behind a colon, or a file.
        seed: Of the first sample.
        truncation: 1 for none.
        inception_weights: A file, or None.
        lpips_weights: A folder, or None.
        classifier: A file, or None.
        space: A latent space, or None.
        distance: Of images, by name, or None.
    """

    count: int | None
    references: int | None
    split: str
    extractor: str
    seed: int
    truncation: float
    inception_weights: Path | None
    lpips_weights: Path | None
    classifier: Path | None
    space: str | None
    distance: str | None


class Metric(NamedTuple):
    """How something is measured.

    Attributes:
        measure: Gives the result.
        options: Flags that it can use and others cannot.
    """

    measure: Callable[[TrainedRun, Request, Registry], RunResult]
    options: tuple[str, ...]


def _measure_modes(run: TrainedRun, asked: Request, registry: Registry) -> RunResult:
    from ganforge.evaluation.metrics.modes import modes_of_run

    return _read_by_classifier(modes_of_run, run, asked)


def _measure_conditional_accuracy(run: TrainedRun, asked: Request, registry: Registry) -> RunResult:
    from ganforge.evaluation.metrics.conditional import conditional_accuracy_of_run

    return _read_by_classifier(conditional_accuracy_of_run, run, asked)


def _measure_path_length(run: TrainedRun, asked: Request, registry: Registry) -> RunResult:
    from ganforge.evaluation.metrics.path_length import path_length_of_run

    return path_length_of_run(
        run,
        count=asked.count,
        seed=asked.seed,
        truncation=asked.truncation,
        space=asked.space,
        distance=asked.distance or "classifier",
        classifier=asked.classifier,
        inception_weights=asked.inception_weights,
        lpips_weights=asked.lpips_weights,
        progress=progress_bar,
        say=say,
    )


def _measure_separability(run: TrainedRun, asked: Request, registry: Registry) -> RunResult:
    from ganforge.evaluation.metrics.separability import separability_of_run

    return _read_by_classifier(partial(separability_of_run, space=asked.space), run, asked)


def _read_by_classifier(measure: Callable[..., RunResult], run: TrainedRun, asked: Request) -> RunResult:
    return measure(
        run,
        count=asked.count,
        seed=asked.seed,
        truncation=asked.truncation,
        classifier=asked.classifier,
        progress=progress_bar,
        say=say,
    )


def _measure_discriminator_accuracy(run: TrainedRun, asked: Request, registry: Registry) -> RunResult:
    from ganforge.evaluation.metrics.discriminator import discriminator_accuracy

    return discriminator_accuracy(run.folder, run.data, registry, run.device)


_BY_FEATURES = ("--samples", "--extractor", "--references", "--split", "--data", "--inception-weights")

FEATURE_METRICS = {
    "--fid": "fid",
    "--fid-infinity": "fid-infinity",
    "--kid": "kid",
    "--is": "is",
    "--prc": "prc",
    "--memorization": "memorization",
}
"""Metrics that compare features of generated images with those of real ones, which all of them share."""

RUN_METRICS = {
    "--ppl": Metric(
        _measure_path_length,
        ("--samples", "--space", "--distance", "--classifier", "--inception-weights", "--lpips-weights"),
    ),
    "--modes": Metric(_measure_modes, ("--samples", "--classifier")),
    "--conditional-accuracy": Metric(_measure_conditional_accuracy, ("--samples", "--classifier")),
    "--discriminator-accuracy": Metric(_measure_discriminator_accuracy, ()),
    "--separability": Metric(_measure_separability, ("--samples", "--space", "--classifier")),
}
"""Metrics of runs, each with a protocol of its own."""

OPTIONS = dict.fromkeys(FEATURE_METRICS, _BY_FEATURES) | {name: each.options for name, each in RUN_METRICS.items()}
"""For each metric, the flags that it can use and others cannot."""


class Evaluator:
    """The metrics of one target; what several of them need is made once.

    What cannot be had is found out here, before an hour is spent on the first.

    Args:
        target: What is evaluated.
        wanted: Flags of metrics.
        asked: How.
        lenient: Whether a metric that cannot be had is left out with a note, and is no error.
        registry: Where extractors and networks are looked up.
        device: Where to compute.
        cache: Where features and classifiers are kept.
        extractors: Those that other targets have opened, by the fingerprint of their data; one that is opened joins.
    """

    def __init__(
        self,
        target: Target,
        wanted: Sequence[str],
        asked: Request,
        *,
        lenient: bool,
        registry: Registry,
        device: torch.device,
        cache: Path,
        extractors: dict[str, Extractor],
    ) -> None:
        self.target, self.asked, self.lenient, self.device, self.cache = target, asked, lenient, device, cache
        self.registry, self.extractors = registry, extractors
        only_searched = {*wanted}.isdisjoint({*FEATURE_METRICS} - {"--memorization"})
        self.samples = asked.count or (SEARCHED if only_searched else SAMPLES)
        self.flags = []
        for flag in wanted:
            with self._leaving_out(flag):
                self._check(flag)
                self.flags.append(flag)

    def run(self) -> Iterator[tuple[list[Evaluation], str]]:
        """Compute one after the other, and write each down at once.

        Yields:
            For each metric its rows, and these in words.
        """
        from ganforge.evaluation.results.result import FILE, append_rows

        for flag in self.flags:
            with self._leaving_out(flag):
                rows, words = self._measure(flag)
                if removed := append_rows(self.target.subject.home / FILE, rows):
                    say(removed)
                yield rows, words

    def extract_together(self, workers: Workers) -> None:
        """Let a team compute whatever features are needed, so that they are found when metrics are computed."""
        if not FEATURE_METRICS.keys().isdisjoint(self.flags):
            self.comparison.extract_together(workers)

    @property
    def comparison(self) -> Comparison:
        """The target beside real images."""
        if isinstance(self._opened, GanforgeError):
            raise self._opened
        return self._opened

    @cached_property
    def _opened(self) -> Comparison | GanforgeError:
        """The same, or why it cannot be had: that is found out once, since weights may be looked for in the network."""
        try:
            return self._open()
        except GanforgeError as error:
            return error

    def _open(self) -> Comparison:
        from ganforge.evaluation.extractors.opening import open_extractor
        from ganforge.evaluation.metrics.comparison import Comparison, Protocol, Reference

        target, asked = self.target, self.asked
        extractor = self.extractors.get(target.data.fingerprint)
        if extractor is None:
            extractor = self.extractors[target.data.fingerprint] = open_extractor(
                asked.extractor,
                target.data,
                self.registry,
                cache=self.cache,
                inception_weights=asked.inception_weights,
                device=self.device,
                progress=progress_bar,
                say=say,
            )
        reference = Reference.choose(target.data, split=asked.split, holdout=target.holdout, count=asked.references)
        most = target.subject.most
        count = self.samples if most is None or asked.count else min(self.samples, most)
        protocol = Protocol(samples=count, seed=asked.seed, truncation=asked.truncation)
        return Comparison(
            target.subject,
            reference,
            extractor,
            protocol,
            device=self.device,
            cache=self.cache / "features",
            progress=progress_bar,
        )

    def _check(self, flag: str) -> None:
        """Refuse a metric that cannot be had."""
        from ganforge.evaluation.metrics.memorization import check_memorization

        if flag in FEATURE_METRICS:
            self.comparison.check(FEATURE_METRICS[flag])
            if flag == "--memorization":
                check_memorization(self.comparison)
        elif self.target.run is None:
            raise OptionError(
                f"{flag} is a metric of runs beside their own data, and {self.target.subject.about['name']} is none",
                "name a run, without --data",
            )

    def _measure(self, flag: str) -> tuple[list[Evaluation], str]:
        """Rows of a metric, and these in words."""
        from ganforge.evaluation.metrics.memorization import PICTURE, describe_memorization, measure_memorization
        from ganforge.evaluation.results.formatting import describe_rows
        from ganforge.evaluation.results.rows import rows_of

        if flag == "--memorization":
            picture = self.target.subject.home / PICTURE
            rows = measure_memorization(self.comparison, picture, progress=progress_bar)
            return rows, f"{describe_rows(rows)}\n{describe_memorization(rows[0], picture)}"
        if flag in FEATURE_METRICS:
            rows = self.comparison.measure(FEATURE_METRICS[flag])
            return rows, describe_rows(rows)
        assert self.target.run is not None
        result = RUN_METRICS[flag].measure(self.target.run, self.asked, self.registry)
        return rows_of(result, self.target.subject, self.device), result.describe()

    @contextmanager
    def _leaving_out(self, flag: str) -> Iterator[None]:
        """What cannot be had inside it is left out with a note, if that is wanted."""
        try:
            yield
        except GanforgeError as error:
            if not self.lenient:
                raise
            say(f"{flag} is left out: {error.message}")
