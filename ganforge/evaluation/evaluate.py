"""Evaluate several targets by the same metrics, with work shared among processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.contract.errors import OptionError
from ganforge.evaluation.evaluator import OPTIONS, Evaluator
from ganforge.evaluation.request import Request

if TYPE_CHECKING:
    import torch

    from ganforge.contract.extractor import Extractor
    from ganforge.core.distributed import Workers
    from ganforge.plugins.registry import Registry


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
