"""Evaluator of ``ganforge eval``: computes metrics of a target and writes them down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.contract.errors import GanforgeError, OptionError
from ganforge.core.console import say
from ganforge.evaluation.reporter import TERMINAL
from ganforge.evaluation.request import Request

if TYPE_CHECKING:
    import torch

    from ganforge.contract.extractor import Extractor
    from ganforge.core.distributed import Workers
    from ganforge.evaluation.metrics.comparison import Comparison
    from ganforge.evaluation.results.result import Evaluation, RunResult
    from ganforge.evaluation.subjects.targets import Target
    from ganforge.plugins.registry import Registry

SAMPLES = 50_000
"""Default number of generated images for metrics of features, as in papers."""

SEARCHED = 10_000
"""Default number of generated images for memorization alone."""


FEATURE_METRICS = {f"--{name}": name for name in ("fid", "fid-infinity", "kid", "is", "prc", "memorization")}
"""Metrics of features of generated and real images."""

RUN_METRICS = {
    "--ppl": "path_length",
    "--modes": "modes",
    "--conditional-accuracy": "conditional_accuracy",
    "--discriminator-accuracy": "discriminator_accuracy",
    "--separability": "separability",
}
"""Metrics of runs: modules in `ganforge.evaluation.metrics` with ``measure(run, request, reporter)``."""

_FEATURE_OPTIONS = ("--samples", "--extractor", "--references", "--split", "--data", "--inception-weights")

OPTIONS: dict[str, tuple[str, ...]] = dict.fromkeys(FEATURE_METRICS, _FEATURE_OPTIONS) | {
    "--ppl": ("--samples", "--space", "--distance", "--classifier", "--inception-weights", "--lpips-weights"),
    "--modes": ("--samples", "--classifier"),
    "--conditional-accuracy": ("--samples", "--classifier"),
    "--discriminator-accuracy": (),
    "--separability": ("--samples", "--space", "--classifier"),
}
"""Flags that each metric uses."""


class Evaluator:
    """Metrics of one target with shared features. Unsupported metrics are reported before the first is computed.

    With `lenient`, they are skipped with a message instead of an error. `extractors` are shared with other targets, by
    the fingerprint of their data.
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
            with self._skipping_errors(flag):
                self._check(flag)
                self.flags.append(flag)

    def run(self) -> Iterator[tuple[list[Evaluation], str]]:
        """Compute metrics, append their rows to ``evaluations.jsonl``, and yield rows and text of each metric."""
        from ganforge.evaluation.results.result import FILE, append_rows

        for flag in self.flags:
            with self._skipping_errors(flag):
                rows, text = self._measure(flag)
                if removed := append_rows(self.target.subject.home / FILE, rows):
                    say(removed)
                yield rows, text

    def extract_together(self, workers: Workers) -> None:
        """Compute all required features by several processes, into the cache."""
        if not FEATURE_METRICS.keys().isdisjoint(self.flags):
            self.comparison.extract_together(workers)

    @property
    def comparison(self) -> Comparison:
        """Comparison of the target with real images."""
        if isinstance(self._opened, GanforgeError):
            raise self._opened
        return self._opened

    @cached_property
    def _opened(self) -> Comparison | GanforgeError:
        """Comparison, or its error; cached, since an error may follow a timeout of the network."""
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
                reporter=TERMINAL,
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
            reporter=TERMINAL,
        )

    def _check(self, flag: str) -> None:
        from ganforge.evaluation.metrics.memorization import check_memorization

        if flag in FEATURE_METRICS:
            self.comparison.check(FEATURE_METRICS[flag])
            if flag == "--memorization":
                check_memorization(self.comparison)
        elif self.target.run is None:
            raise OptionError(
                f"{flag} is a metric of runs with their own data, and {self.target.subject.about['name']} is none",
                "name a run, without --data",
            )

    def _measure(self, flag: str) -> tuple[list[Evaluation], str]:
        from ganforge.evaluation.metrics.memorization import PICTURE, describe_memorization, measure_memorization
        from ganforge.evaluation.results.formatting import describe_rows
        from ganforge.evaluation.results.result import Evaluation, circumstances

        subject, run = self.target.subject, self.target.run
        if flag == "--memorization":
            picture = subject.home / PICTURE
            rows = measure_memorization(self.comparison, picture)
            return rows, f"{describe_rows(rows)}\n{describe_memorization(rows[0], picture)}"
        if flag in FEATURE_METRICS:
            rows = self.comparison.measure(FEATURE_METRICS[flag])
            return rows, describe_rows(rows)
        assert run is not None
        metric = import_module(f"ganforge.evaluation.metrics.{RUN_METRICS[flag]}")
        result: RunResult = metric.measure(run, self.asked, TERMINAL)
        made = circumstances(self.device, result.seed, run.data.name)
        rows = [
            Evaluation(
                metric=each.name,
                **each.fields(),
                protocol={**result.protocol, **each.parameters},
                subject=subject.about,
                circumstances=made,
            )
            for each in result.values
        ]
        return rows, result.text

    @contextmanager
    def _skipping_errors(self, flag: str) -> Iterator[None]:
        try:
            yield
        except GanforgeError as error:
            if not self.lenient:
                raise
            say(f"{flag} is left out: {error.message}")


def check_flags(given: Mapping[str, Any], wanted: Sequence[str]) -> None:
    """Refuse options that no wanted metric uses.

    Args:
        given: Values by flag; defaults are left out.
        wanted: Flags of metrics.

    Raises:
        OptionError: An option is unused.
    """
    if not wanted:
        raise OptionError("no metric was named", f"choose from: {', '.join(OPTIONS)}; or --all")
    limited = {flag for flags in OPTIONS.values() for flag in flags}
    used = {flag for metric in wanted for flag in OPTIONS[metric]}
    for flag, value in given.items():
        if flag in limited - used:
            verb = "does" if len(wanted) == 1 else "do"
            raise OptionError(f"{flag} {value}: {' and '.join(wanted)} {verb} not use it", f"omit {flag}")


def open_evaluators(
    names: Sequence[str | None],
    out: Path,
    wanted: Sequence[str],
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
        wanted: Flags of metrics.
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

    extractors: dict[str, Extractor] = {}
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
