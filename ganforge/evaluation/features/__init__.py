"""Extraction and caching of features."""

from ganforge.evaluation.features.extraction import extract
from ganforge.evaluation.features.store import FeatureSet

__all__ = ["FeatureSet", "extract"]
