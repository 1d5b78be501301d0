"""The Frechet Inception distance, of features by torch-fidelity's network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganforge.errors import CheckpointError, DataError, OptionError
from ganforge.evaluation.provenance import Provenance, describe_device
from ganforge.evaluation.statistics import Moments, frechet_distance
from ganforge.evaluation.weights import Extractor, load_inception

_FEW = 10_000


@dataclass(frozen=True, kw_only=True)
class FidResult:
    """A Frechet Inception distance and how it came about.

    Attributes:
        metric: ``fid``.
        value: The distance; 0 for equal sets, lower is better.
        notes: What forbids comparing the value with others, in sentences; empty if nothing does.
        provenance: What the value must be quoted with.
    """

    metric: str = "fid"
    value: float
    notes: tuple[str, ...]
    provenance: Provenance

    def to_json(self) -> str:
        """All of it as a JSON object."""
        return json.dumps(asdict(self), indent=2)


def evaluate_fid(
    reals: Tensor,
    fakes: Tensor,
    *,
    weights: Path | None,
    device: torch.device,
    data_fingerprint: str,
    generator_fingerprint: str,
    seed: int,
    truncation: float = 1.0,
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> FidResult:
    """Compare two sets of images by the mean and the covariance of their Inception features.

    Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium".

    Args:
        reals: Real images, uint8 ``[N, C, H, W]`` with C of 1 or 3 and N of at least 2.
        fakes: Generated images of the same C, H and W; N may differ.
        weights: File of the Inception weights; None to look for it, and to download it if need be.
        device: Where the features are computed.
        data_fingerprint: Fingerprint of the real images, for the record.
        generator_fingerprint: Fingerprint of the generator's weights, for the record.
        seed: Seed of the generated images, for the record.
        truncation: Truncation of their latents, for the record; 1 for none.
        batch: Images that pass through the network at once; it changes speed and memory, not the value.
        progress: Called after each batch with the number of images done and of all.

    Raises:
        DataError: The images are no such tensors, or the two sets do not fit each other.
        OptionError: `batch` is less than 1.
        CheckpointError: The weights are absent, damaged or another network's.
    """
    _check_images("real", reals)
    _check_images("generated", fakes)
    if reals.shape[1:] != fakes.shape[1:]:
        raise DataError(
            f"real images are {_describe(reals)}, generated ones {_describe(fakes)}",
            "FID compares images of one size and of as many channels",
        )
    if batch < 1:
        raise OptionError(f"batch is {batch}", "it must be 1 or more")
    extractor = load_inception(weights)
    total = len(reals) + len(fakes)

    def report(done: int) -> None:
        if progress is not None:
            progress(done, total)

    real = extract_features(extractor, reals, device=device, batch=batch, progress=report)
    fake = extract_features(extractor, fakes, device=device, batch=batch, progress=lambda n: report(len(reals) + n))
    if not (real.isfinite().all() and fake.isfinite().all()):
        raise CheckpointError(
            f"the weights of SHA-256 {extractor.weights_sha256[:8]}... give features that are not finite",
            "they are damaged; leave --inception-weights out to use the published ones",
        )
    notes = []
    if min(len(reals), len(fakes)) < _FEW:
        notes.append(f"fewer than {_FEW:,} images: FID is biased upwards; compare only with equal numbers of images")
    if not extractor.is_published:
        notes.append("these are not the published Inception weights: the value is no FID that can be compared")
    return FidResult(
        value=frechet_distance(Moments.of(real), Moments.of(fake)),
        notes=tuple(notes),
        provenance=Provenance(
            num_real=len(reals),
            num_fake=len(fakes),
            resolution=f"{reals.shape[2]}x{reals.shape[3]}",
            channels=reals.shape[1],
            data_fingerprint=data_fingerprint,
            generator_fingerprint=generator_fingerprint,
            seed=seed,
            truncation=truncation,
            extractor=extractor.name,
            weights_sha256=extractor.weights_sha256,
            resize=extractor.resize,
            dtype="float32 features, float64 statistics",
            device=describe_device(device),
        ),
    )


def extract_features(
    extractor: Extractor,
    images: Tensor,
    *,
    device: torch.device,
    batch: int,
    progress: Callable[[int], None],
) -> Tensor:
    """Features of images, computed in full float32 whatever precision the rest of the program allows.

    Args:
        extractor: The network; it stays on `device`.
        images: uint8 ``[N, C, H, W]`` with C of 1, which is repeated, or 3.
        device: Where to compute.
        batch: Images at once.
        progress: Called after each batch with the number of images done.

    Returns:
        float32 ``[N, D]`` on the CPU.
    """
    network = extractor.network.to(device)
    features: list[Tensor] = []
    done = 0
    with torch.inference_mode(), torch.autocast(device.type, enabled=False), full_float32():
        for chunk in torch.split(images, batch):
            features.append(network(chunk.to(device).expand(-1, 3, -1, -1))[0].cpu())
            done += len(chunk)
            progress(done)
    return torch.cat(features)


@contextmanager
def full_float32() -> Iterator[None]:
    """Convolutions inside it are computed in full float32 on CUDA too.

    cuDNN rounds to TF32 unless told otherwise, which moves features by 1e-3.
    """
    convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolution.fp32_precision
    convolution.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolution.fp32_precision = before


def _check_images(kind: str, images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"{kind} images are {images.dtype} {list(images.shape)}", "FID needs uint8 [N, C, H, W] with C of 1 or 3"
        )
    if len(images) < 2:
        raise DataError(f"there is {len(images)} {kind} image", "FID needs 2 or more, and 10,000 to mean something")


def _describe(images: Tensor) -> str:
    channels, height, width = images.shape[1:]
    return f"{height}x{width} with {channels} channel{'s' * (channels > 1)}"
