"""Feature extraction in batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError, GanforgeError, PluginError
from ganforge.contract.extractor import Extractor
from ganforge.core.accelerator import name_gpu
from ganforge.core.distributed import ALONE, Workers
from ganforge.core.out_of_memory import run_with_halving
from ganforge.evaluation.features.store import PART, FeatureFolder, FeatureSet, trim
from ganforge.evaluation.subjects.image_sets import ImageSet
from ganforge.runs.checkpoint import digest_tensors
from ganforge.version import __version__

BATCH = 64
"""Images per batch; a part holds a whole number of batches."""

Dtype = Literal["float32", "bfloat16"]


def extract(
    images: ImageSet,
    extractor: Extractor,
    *,
    device: torch.device,
    cache: Path,
    dtype: Dtype = "float32",
    progress: Callable[[int, int], None] = lambda done, total: None,
    workers: Workers = ALONE,
) -> FeatureSet:
    """Return the features of images, from the cache as far as they are there.

    Cached features, also of an interrupted extraction, are found by images, extractor, dtype, kind of device and
    version of torch. They are computed in full float32 unless `dtype` differs, whatever the precision of the program.
    Several workers share the images; all but the main one return an empty set. `progress` receives the number of images
    done and the total.
    """
    folder = FeatureFolder(cache, {**describe_features(images, extractor, dtype), **_describe_machine(device)})
    if not workers.is_main:
        _fill(folder, images, extractor, device, dtype, progress, workers)
        return FeatureSet(torch.empty(0, 0))
    with folder.locked():
        _fill(folder, images, extractor, device, dtype, progress, workers)
        found = folder.open(images.count)
    trim(cache)
    return found


def _fill(
    folder: FeatureFolder,
    images: ImageSet,
    extractor: Extractor,
    device: torch.device,
    dtype: Dtype,
    progress: Callable[[int, int], None],
    workers: Workers,
) -> None:
    """Compute the missing parts; the main process, which holds the lock, writes them."""
    workers.check_equal(
        hashlib.sha256(json.dumps(describe_features(images, extractor, dtype), sort_keys=True).encode()).hexdigest(),
        "images or feature extractors",
        "each machine must have the same data, runs and weights; to share a classifier, share $GANFORGE_CACHE",
    )
    parts = int(workers.on_main(lambda: str(folder.check()).encode()))
    done = min(parts * PART, images.count)
    if done == images.count:
        return
    progress(done, images.count)
    run = prepare(extractor, device, dtype)
    for start in range(done, images.count, PART * workers.size):
        found = []
        own = range(start + workers.rank * PART, min(start + (workers.rank + 1) * PART, images.count))
        for first in own[::BATCH]:
            found.append(run(images.read(first, min(first + BATCH, own.stop))))
            progress(min(start + (first - own.start + BATCH) * workers.size, images.count), images.count)
        columns = [torch.cat(column) for column in zip(*found, strict=True) if column[0] is not None]
        count = min(PART * workers.size, images.count - start)
        columns = gather_columns(workers, columns, PART, count)
        for first in range(0, count if workers.is_main else 0, PART):
            features, *logits = (column[first : first + PART] for column in columns)
            folder.append(features, logits[0] if logits else None)


def gather_columns(workers: Workers, columns: list[Tensor], share: int, count: int) -> list[Tensor]:
    """Return the first `count` rows of all processes in order; all but the last with any have `share` rows."""
    if workers.size == 1:
        return columns
    # The main process is the last to run out of images, so it knows the widths.
    widths = json.loads(workers.broadcast_bytes(json.dumps([each.shape[1] for each in columns]).encode()))
    buffers = [torch.zeros(share, width) for width in widths]
    for buffer, column in zip(buffers, columns, strict=False):
        buffer[: len(column)] = column
    return [workers.gather(buffer)[:count] for buffer in buffers]


def describe_features(images: ImageSet, extractor: Extractor, dtype: Dtype) -> dict[str, Any]:
    """Return all that determines features, except for rounding."""
    return {
        "images": dict(images.identity),
        "extractor": extractor.label,
        "weights": fingerprint_of(extractor),
        "preprocessing": extractor.preprocessing,
        "origin": dict(extractor.origin),
        "dtype": dtype,
    }


def fingerprint_of(extractor: Extractor) -> str:
    """Return the SHA-256 of an extractor's weight file, else of its tensors."""
    return extractor.weights_sha256 or digest_tensors(extractor.state_dict())


def prepare(
    extractor: Extractor, device: torch.device, dtype: Dtype
) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    """Return a function from images, uint8 ``[n, C, H, W]``, to float32 features and logits on the CPU."""
    network = extractor.to(device).eval().requires_grad_(False)
    shapes: set[tuple[int, ...]] = set()

    def run(images: Tensor) -> tuple[Tensor, Tensor | None]:
        reduced = torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16")
        with torch.no_grad(), reduced, full_float32():
            try:
                features, logits = run_with_halving(lambda part: network(part.to(device)), images, join=_join)
            except GanforgeError:
                raise
            except Exception as error:
                reason = str(error).rsplit("RuntimeError: ", 1)[-1]  # TorchScript prepends a traceback
                raise PluginError(
                    f"extractor '{extractor.label}' fails for images {list(images.shape)}: "
                    f"{type(error).__name__}: {' '.join(reason.split())}",
                    "it must take uint8 [N, C, H, W] and give features [N, D] and logits [N, K], or None",
                ) from error
        rows = _check("features", features, len(images), extractor)
        scores = None if logits is None else _check("logits", logits, len(images), extractor)
        shapes.add(rows.shape[1:] if scores is None else rows.shape[1:] + scores.shape[1:])
        if len(shapes) > 1:
            raise PluginError(
                f"extractor '{extractor.label}' gives features or logits of another length than before",
                "D and K must be the same for all images",
            )
        return rows, scores

    return run


def _join(first: tuple[Tensor, Tensor | None], second: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    """Concatenate features and logits of two halves of a batch."""
    logits = None if first[1] is None or second[1] is None else torch.cat((first[1], second[1]))
    return torch.cat((first[0], second[0])), logits


def _check(name: str, found: object, count: int, extractor: Extractor) -> Tensor:
    """Validate features or logits, and return them as float32 on the CPU."""
    if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != count or found.shape[1] < 2:
        given = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise PluginError(
            f"extractor '{extractor.label}' gives {given} as {name} of {count} images",
            f"{name} must be a tensor [N, D], a row per image, with D of 2 or more",
        )
    rows = found.float().cpu()
    if not rows.isfinite().all():
        raise CheckpointError(
            f"extractor '{extractor.label}' gives {name} that are not finite", "its weights are damaged; use others"
        )
    return rows


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute convolutions in full float32 on CUDA: cuDNN's default TF32 changes features by 1e-3."""
    convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolution.fp32_precision
    convolution.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolution.fp32_precision = before


def _describe_machine(device: torch.device) -> dict[str, Any]:
    """Return what rounding depends on."""
    return {"device": name_gpu(device), "torch": str(torch.__version__), "ganforge": __version__}
