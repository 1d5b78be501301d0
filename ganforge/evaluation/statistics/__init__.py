"""Statistics of features: pure functions of tensors ``[N, D]``, computed in float64, the same for the same seed."""

from ganforge.evaluation.statistics.frechet import FrechetInfinity, frechet_distance, frechet_infinity, frechet_of_few
from ganforge.evaluation.statistics.groups import GroupedMoments, frechet_interval
from ganforge.evaluation.statistics.inception_score import InceptionScore, inception_score
from ganforge.evaluation.statistics.intervals import (
    Interval,
    bootstrap_interval,
    half_sample_interval,
    half_samples,
    seed_interval,
    share_interval,
    spread_interval,
    student_quantile,
)
from ganforge.evaluation.statistics.kernel import KernelDistance, kernel_distance
from ganforge.evaluation.statistics.manifold import ManifoldScores, precision_recall_density_coverage
from ganforge.evaluation.statistics.memorization import Memorization, memorization
from ganforge.evaluation.statistics.moments import Moments
from ganforge.evaluation.statistics.neighbors import Nearest, nearest

__all__ = [
    "FrechetInfinity",
    "GroupedMoments",
    "InceptionScore",
    "Interval",
    "KernelDistance",
    "ManifoldScores",
    "Memorization",
    "Moments",
    "Nearest",
    "bootstrap_interval",
    "frechet_distance",
    "frechet_infinity",
    "frechet_interval",
    "frechet_of_few",
    "half_sample_interval",
    "half_samples",
    "inception_score",
    "kernel_distance",
    "memorization",
    "nearest",
    "precision_recall_density_coverage",
    "seed_interval",
    "share_interval",
    "spread_interval",
    "student_quantile",
]
