"""Statistics of features: pure, deterministic functions of tensors ``[N, D]`` in float64.

Invalid features raise DataError (see `check_features`), invalid options OptionError.
"""

from ganforge.evaluation.statistics.authenticity import authenticity
from ganforge.evaluation.statistics.frechet import (
    GroupedMoments,
    frechet_distance,
    frechet_infinity,
    frechet_interval,
    frechet_of_few,
)
from ganforge.evaluation.statistics.gaussian import gaussian_discrepancy
from ganforge.evaluation.statistics.inception_score import inception_score
from ganforge.evaluation.statistics.intervals import (
    MIN_FOR_INTERVAL,
    Interval,
    half_sample_interval,
    half_samples,
    seed_interval,
    share_interval,
    spread_interval,
    student_quantile,
)
from ganforge.evaluation.statistics.kernel import kernel_distance
from ganforge.evaluation.statistics.manifold import precision_recall_density_coverage
from ganforge.evaluation.statistics.memorization import compare_distances, duplicates_interval
from ganforge.evaluation.statistics.moments import Moments
from ganforge.evaluation.statistics.neighbors import Nearest, nearest

__all__ = [
    "MIN_FOR_INTERVAL",
    "GroupedMoments",
    "Interval",
    "Moments",
    "Nearest",
    "authenticity",
    "compare_distances",
    "duplicates_interval",
    "frechet_distance",
    "frechet_infinity",
    "frechet_interval",
    "frechet_of_few",
    "gaussian_discrepancy",
    "half_sample_interval",
    "half_samples",
    "inception_score",
    "kernel_distance",
    "nearest",
    "precision_recall_density_coverage",
    "seed_interval",
    "share_interval",
    "spread_interval",
    "student_quantile",
]
