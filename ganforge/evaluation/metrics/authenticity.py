"""Authenticity: share of samples that are no noisy copies of training images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ganforge.contract.errors import OptionError
from ganforge.evaluation.results.result import Evaluation, Measured
from ganforge.evaluation.statistics import MIN_FOR_INTERVAL, authenticity, share_interval

if TYPE_CHECKING:
    from ganforge.evaluation.metrics.comparison import Comparison

MAX_IMAGES = 10_000
"""Maximum number of searched samples."""

NOTE = "authenticity: unseen real images have 0.33 to 0.5, so values above that are not better"


def check_authenticity(comparison: Comparison) -> None:
    """Raise OptionError if the reference set is not the training set."""
    split = comparison.reference.split
    if split != "train":
        raise OptionError(f"--split {split}: --authenticity searches the training images", "use --split train")


def measure_authenticity(comparison: Comparison) -> list[Evaluation]:
    """Return the share of authentic samples; see `ganforge.evaluation.statistics.authenticity`.

    Samples are independent given the training images, and so is the interval.
    """
    reference, samples = comparison.reference, comparison.fakes.features[comparison.choose_fakes(MAX_IMAGES)]
    share = authenticity(comparison.reals.features, samples)
    row = comparison.row(
        Measured(
            name="authenticity",
            value=share,
            interval=share_interval(share, len(samples)) if len(samples) >= MIN_FOR_INTERVAL else None,
            better="higher",
            parameters={"searched": len(samples)},
        )
    )
    return [replace(row, notes=(*row.notes, NOTE, *reference.describe_omitted()))]
