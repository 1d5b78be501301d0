"""Options of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options of an evaluation, shared by all metrics.

    Attributes:
        count: Number of samples; None for the default of the metric.
        references: Number of real images; None for the whole split.
        split: Split of the real images.
        extractor: Name of a feature extractor, with options after a colon, or a file.
        seed: Seed of the first sample; incremented per sample.
        truncation: Truncation psi; 1 for none.
        inception_weights: File, or None.
        lpips_weights: Folder, or None.
        classifier: File, or None.
        space: Latent space, ``z`` or ``w``; None for all.
        distance: Image distance of path lengths; None for the default.
    """

    count: int | None = None
    references: int | None = None
    split: str = "train"
    extractor: str = "inception"
    seed: int = 0
    truncation: float = 1.0
    inception_weights: Path | None = None
    lpips_weights: Path | None = None
    classifier: Path | None = None
    space: str | None = None
    distance: str | None = None
