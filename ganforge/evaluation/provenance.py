"""What a metric's value must be quoted with: two values may be compared only where these agree."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, field
from datetime import UTC, datetime

import torch

from ganforge.version import __version__


def software_versions() -> dict[str, str]:
    """Versions of everything that takes part in a value, by the name of its distribution."""
    return {
        "ganforge": __version__,
        "torch": str(torch.__version__),  # unlike the distribution's metadata this names the build
        "torchvision": importlib.metadata.version("torchvision"),
        "torch-fidelity": importlib.metadata.version("torch-fidelity"),
    }


def describe_device(device: torch.device) -> str:
    """A device in words, such as ``cpu`` or ``cuda:0 (NVIDIA H100 80GB HBM3)``."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def now() -> str:
    """The moment as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How the value of a metric came about.

    Attributes:
        num_real: Number of real images.
        num_fake: Number of generated images.
        resolution: ``HEIGHTxWIDTH`` in pixels, before the extractor's own resize.
        channels: 1 for grey images, which the extractor is shown with the channel repeated, or 3.
        data_fingerprint: Fingerprint of the real images.
        generator_fingerprint: Fingerprint of the generator's weights.
        seed: Seed from which the generated images were drawn.
        truncation: Truncation of the latents; 1 for none.
        extractor: Name of the network that turns images into features.
        weights_sha256: SHA-256 of the file of its weights.
        resize: How images are brought to the extractor's size.
        dtype: Precision of the features and of what is computed from them.
        device: Where the features were computed.
        versions: Versions of the software, by distribution.
        date: When, in ISO 8601, UTC.
    """

    num_real: int
    num_fake: int
    resolution: str
    channels: int
    data_fingerprint: str
    generator_fingerprint: str
    seed: int
    truncation: float
    extractor: str
    weights_sha256: str
    resize: str
    dtype: str
    device: str
    versions: dict[str, str] = field(default_factory=software_versions)
    date: str = field(default_factory=now)
