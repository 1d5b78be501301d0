"""Numbers of a run that are not by features, as rows of ``evaluations.jsonl``."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from ganforge.evaluation.results.result import Evaluation, Measured, describe_device
from ganforge.evaluation.subjects.subject import Subject


class RunResult(Protocol):
    """What a metric of a run gives."""

    def measured(self) -> list[Measured]:
        """The numbers one by one."""
        ...

    def describe(self) -> str:
        """The numbers in words, a line each."""
        ...

    def quote(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What must be equal for two numbers to be compared, and what need not."""
        ...


def rows_of(result: RunResult, subject: Subject, device: torch.device) -> list[Evaluation]:
    """The numbers of a result with all that they must be quoted with.

    Args:
        result: What was found.
        subject: What it is about.
        device: Where it was computed.
    """
    protocol, happened = result.quote()
    return [
        Evaluation(
            metric=each.name,
            value=each.value,
            interval=each.interval,
            better=each.better,
            details=each.details,
            protocol={**protocol, **each.parameters},
            subject=subject.about,
            circumstances={"device": describe_device(device), **happened},
        )
        for each in result.measured()
    ]
