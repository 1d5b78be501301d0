"""How good generated examples are, in numbers that say how they came about."""

from ganforge.evaluation.fid import FidResult, evaluate_fid
from ganforge.evaluation.provenance import Provenance

__all__ = ["FidResult", "Provenance", "evaluate_fid"]
