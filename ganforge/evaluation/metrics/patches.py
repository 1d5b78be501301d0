"""Patch distance of many samples."""

from __future__ import annotations

import torch

from ganforge.contract.errors import DataError, OptionError
from ganforge.contract.metric import Measured, Request
from ganforge.core.images import to_float
from ganforge.data.patches import PatchDistance
from ganforge.evaluation.subjects.runs import TrainedRun


def measure(run: TrainedRun, request: Request, default: int) -> Measured:
    """Measure the patch distance of samples from as many images of the run's data, or all if there are fewer."""
    if not run.data.spec.is_image:
        raise OptionError(f"{run.data.name} has no images", "--patch-distance compares images")
    count = request.count or default
    order = torch.randperm(len(run.data), generator=torch.Generator().manual_seed(request.seed))
    reals = to_float(run.data.examples[order[:count].sort().values])
    if len(reals) < 4:
        raise DataError(
            f"--patch-distance needs at least 4 images, not {len(reals)}", "set --samples, or use more data"
        )
    samples = torch.cat([each.cpu() for each in run.generate(count, request.seed, request.truncation)])
    distance = PatchDistance(reals)(samples)
    return Measured(name="patch_distance", value=distance, better="lower", parameters={"references": len(reals)})
