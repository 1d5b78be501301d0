"""Evaluator of ``ganforge eval``: computes metrics of a target and writes them down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.config.sources import parse_part
from ganforge.contract.errors import GanforgeError, OptionError
from ganforge.contract.metric import FeatureMetric, Metric, Request, RunMetric, as_measured
from ganforge.core.console import say
from ganforge.evaluation.metrics import FLAGGED, flag_of
from ganforge.evaluation.metrics.comparing import ComparisonMetric
from ganforge.evaluation.reporter import TERMINAL
from ganforge.plugins.part_errors import part_errors

if TYPE_CHECKING:
    import torch

    from ganforge.contract.extractor import Extractor
    from ganforge.core.distributed import Workers
    from ganforge.evaluation.metrics.comparison import Comparison
    from ganforge.evaluation.results.result import Evaluation
    from ganforge.evaluation.subjects.targets import Target
    from ganforge.plugins.registry import Registry

FEATURE_FLAGS = ("--samples", "--references", "--split", "--data")
"""Flags that metrics of features use."""

EXTRACTOR_FLAGS = ("--extractor", "--inception-weights")
"""Flags that metrics of features use, unless they have an extractor of their own."""


class Evaluator:
    """Metrics of one target with shared features. Unsupported metrics are reported before the first is computed.

    `wanted` holds the metrics by name. With `lenient`, unsupported ones are skipped with a message instead of an error.
    `extractors` are shared with other targets, by the fingerprint of their data and their text.
    """

    def __init__(
        self,
        target: Target,
        wanted: Mapping[str, Metric],
        asked: Request,
        *,
        lenient: bool,
        registry: Registry,
        device: torch.device,
        cache: Path,
        extractors: dict[tuple[str, str], Extractor],
    ) -> None:
        self.target, self.asked, self.lenient, self.device, self.cache = target, asked, lenient, device, cache
        self.registry, self.extractors = registry, extractors
        self._comparisons: dict[str, Comparison | GanforgeError] = {}
        self.samples = asked.count or max(
            (metric.samples for metric in wanted.values() if isinstance(metric, FeatureMetric)), default=0
        )
        self.metrics: dict[str, Metric] = {}
        left_out: dict[str, list[str]] = {}
        for name, metric in wanted.items():
            try:
                self._check(name, metric)
                self.metrics[name] = metric
            except GanforgeError as error:
                if not lenient:
                    raise
                left_out.setdefault(error.message, []).append(flag_of(name))
        for reason, flags in left_out.items():
            say(f"without {', '.join(flags)}: {reason}")

    def run(self) -> Iterator[tuple[list[Evaluation], str]]:
        """Compute metrics, append their rows to ``evaluations.jsonl``, and yield rows and text of each metric."""
        from ganforge.evaluation.results.result import FILE, append_rows

        for name, metric in self.metrics.items():
            try:
                rows, text = self._measure(name, metric)
                if removed := append_rows(self.target.subject.home / FILE, rows):
                    say(removed)
                yield rows, text
            except GanforgeError as error:
                if not self.lenient:
                    raise
                say(f"without {flag_of(name)}: {error.message}")

    def extract_together(self, workers: Workers) -> None:
        """Compute all required features by several processes, into the cache."""
        metrics = [metric for metric in self.metrics.values() if isinstance(metric, FeatureMetric)]
        for comparison in dict.fromkeys(map(self._comparison, metrics)):
            comparison.extract_together(workers)

    def _comparison(self, metric: FeatureMetric) -> Comparison:
        """Return the comparison of the target with real images by the extractor of a metric."""
        text = metric.extractor or self.asked.extractor
        if text not in self._comparisons:
            try:
                self._comparisons[text] = self._open(text)
            except GanforgeError as error:  # kept, since it may follow a timeout of the network
                self._comparisons[text] = error
        found = self._comparisons[text]
        if isinstance(found, GanforgeError):
            raise found
        return found

    def _open(self, text: str) -> Comparison:
        from ganforge.evaluation.extractors.opening import open_extractor
        from ganforge.evaluation.metrics.comparison import Comparison, Protocol, Reference

        target, asked = self.target, self.asked
        key = target.data.fingerprint, text
        if key not in self.extractors:
            self.extractors[key] = open_extractor(
                text,
                target.data.spec,
                self.registry,
                data=lambda: target.data,
                cache=self.cache,
                inception_weights=asked.inception_weights,
                device=self.device,
                reporter=TERMINAL,
            )
        reference = Reference.choose(target.data, split=asked.split, holdout=target.holdout, count=asked.references)
        most = target.subject.most
        count = self.samples if most is None or asked.count else min(self.samples, most)
        protocol = Protocol(samples=count, seed=asked.seed, truncation=asked.truncation)
        return Comparison(
            target.subject,
            reference,
            self.extractors[key],
            protocol,
            device=self.device,
            cache=self.cache / "features",
            reporter=TERMINAL,
            marking=asked.marking,
        )

    def _check(self, name: str, metric: Metric) -> None:
        if isinstance(metric, FeatureMetric):
            comparison = self._comparison(metric)
            comparison.check(name, metric)
            if isinstance(metric, ComparisonMetric):
                metric.check(comparison)
        elif self.target.run is None:
            raise OptionError(
                f"{flag_of(name)} is a metric of runs with their own data, and "
                f"{self.target.subject.about['name']} is none",
                "name a run, without --data",
            )

    def _measure(self, name: str, metric: Metric) -> tuple[list[Evaluation], str]:
        from ganforge.evaluation.results.formatting import describe_rows

        if isinstance(metric, ComparisonMetric):
            return metric.report(self._comparison(metric), self.target.subject.home)
        if isinstance(metric, FeatureMetric):
            rows = self._comparison(metric).measure(name, metric, metric.options)
            return rows, describe_rows(rows)
        assert isinstance(metric, RunMetric)
        return self._measure_run(name, metric)

    def _measure_run(self, name: str, metric: RunMetric) -> tuple[list[Evaluation], str]:
        from ganforge.evaluation.results.formatting import describe_rows
        from ganforge.evaluation.results.result import Evaluation, RunResult, circumstances

        run = self.target.run
        assert run is not None
        with part_errors("metric", name):
            found = metric.measure(run, self.asked, TERMINAL)
            if not isinstance(found, RunResult):
                protocol = run.protocol(f"metric '{name}'", self.asked, self.asked.count or metric.samples, None)
                found = RunResult(
                    found=found,
                    values=as_measured(name, metric, found),
                    text="",
                    protocol={**protocol, **metric.options},
                    seed=self.asked.seed,
                )
        made = circumstances(self.device, found.seed, run.data.name)
        rows = [
            Evaluation(
                metric=each.name,
                **each.fields(),
                protocol={**found.protocol, **each.parameters},
                subject=self.target.subject.about,
                circumstances=made,
            )
            for each in found.values
        ]
        return rows, found.text or describe_rows(rows)


def build_metrics(
    registry: Registry, flags: Sequence[str], texts: Sequence[str], everything: bool
) -> dict[str, Metric]:
    """Build metrics by name.

    Args:
        registry: Where metrics are looked up.
        flags: Names of metrics that have flags.
        texts: Metrics as ``NAME:option=value,...``.
        everything: Whether to build all that have no extractor of their own too.
    """
    given: dict[str, dict[str, Any]] = {name: {} for name in flags}
    for text in texts:
        given |= parse_part(text, "metric", "--metric")["metric"]
    named = set(given)
    if everything:
        given = {name: {} for name in registry.names("metric")} | given
    if not given:
        raise OptionError("no metric was named", f"choose from: {', '.join(map(flag_of, FLAGGED))}; or --all")
    order = sorted(given, key=lambda name: FLAGGED.index(name) if name in FLAGGED else len(FLAGGED))
    metrics: dict[str, Metric] = {}
    for name in order:
        metric: Metric = registry.build("metric", name, given[name])
        options = registry.check("metric", name, given[name])
        if isinstance(metric, FeatureMetric) and metric.extractor:
            if name not in named:
                continue
            options.pop("weights", None)  # the protocol has their SHA-256
        metric.options = options
        metrics[name] = metric
    return metrics


def check_flags(given: Mapping[str, Any], metrics: Mapping[str, Metric]) -> None:
    """Raise OptionError for options, by flag and without defaults, that no metric uses."""
    limited = {*FEATURE_FLAGS, *EXTRACTOR_FLAGS, "--space", "--distance", "--classifier", "--lpips-weights"}
    used: set[str] = set()
    for metric in metrics.values():
        if isinstance(metric, RunMetric):
            used.update(metric.flags)
        elif isinstance(metric, FeatureMetric):
            used.update(FEATURE_FLAGS, () if metric.extractor else EXTRACTOR_FLAGS)
    for flag, value in given.items():
        if flag in limited - used:
            verb = "does" if len(metrics) == 1 else "do"
            names = " and ".join(map(flag_of, metrics))
            raise OptionError(f"{flag} {value}: {names} {verb} not use it", f"omit {flag}")


def open_evaluators(
    names: Sequence[str | None],
    out: Path,
    wanted: Mapping[str, Metric],
    request: Request,
    *,
    data: str | None,
    raw: bool,
    lenient: bool,
    registry: Registry,
    device: torch.device,
    cache: Path,
    workers: Workers,
) -> list[Evaluator]:
    """Open all targets, so that a mistake in the last one is found before the first is evaluated.

    With several processes, also extract features together.

    Args:
        names: Runs, files or folders; None for the newest run.
        out: Folder of all runs.
        wanted: Metrics by name.
        request: Options of the metrics.
        data: Data to compare with; None for each run's own.
        raw: Whether to evaluate the trained weights instead of the EMA weights.
        lenient: Whether to skip unavailable metrics with a note.
        registry: Where parts are looked up.
        device: Compute device.
        cache: Folder of features and classifiers.
        workers: Processes of this evaluation; closed here if there are several.

    Returns:
        One evaluator per target in the main process, none in the others.
    """
    from ganforge.evaluation.subjects.targets import open_target

    extractors: dict[tuple[str, str], Extractor] = {}
    with workers.main_first():
        evaluators = [
            Evaluator(
                open_target(name, out, data=data, raw=raw, device=device, registry=registry),
                wanted,
                request,
                lenient=lenient,
                registry=registry,
                device=device,
                cache=cache,
                extractors=extractors,
            )
            for name in names
        ]
    if workers.size > 1:
        for evaluator in evaluators:
            evaluator.extract_together(workers)
        workers.close()
    return evaluators if workers.is_main else []
