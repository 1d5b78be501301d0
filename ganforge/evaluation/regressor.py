"""Small convolutional network that reads condition vectors in images, trained in minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.contract.errors import CheckpointError, DataError, GanforgeError
from ganforge.core.images import to_uint8
from ganforge.data.store import PackedData
from ganforge.evaluation.small_network import ARCHITECTURE, build_network, run_network, split_images, train_network
from ganforge.runs.checkpoint import digest_tensors, read_tensors, require_card, save_tensors

EPOCHS = 8
"""Minimum number of epochs."""

_STEPS = 200  # minimum number of steps, since statistics of batch norm need some


class _Card(TypedDict):
    kind: str
    architecture: str
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Regressor:
    """Network from images ``[N, C, H, W]`` in [-1, 1] to standardized vectors ``[N, K]``, and its training data."""

    network: nn.Module
    data: PackedData

    def read(self, images: Tensor) -> Tensor:
        """Return vectors, float32 ``[N, K]`` on the CPU in the units of the data, of images uint8 ``[N, C, H, W]``."""
        mean, std = _moments(self.data)
        return run_network(self.network, images) * std + mean

    def read_batches(self, batches: Iterable[Tensor], count: int, show: Callable[[int, int], None]) -> Tensor:
        """Return vectors ``[count, K]`` of generated images ``[n, C, H, W]`` in [-1, 1]."""
        found: list[Tensor] = []
        done = 0
        for batch in batches:
            found.append(self.read(to_uint8(batch).cpu()))
            done += len(batch)
            show(done, count)
        return torch.cat(found)

    def held_out(self) -> tuple[Tensor, Tensor]:
        """Return the vectors of real held-out images, and those that are read in them; ``[M, K]`` each."""
        assert self.data.labels is not None
        _, unseen = split_images(self.data)
        return self.data.labels[unseen], self.read(self.data.read_pixels(unseen))

    def describe(self) -> dict[str, Any]:
        """Return the protocol fields of the network."""
        return {
            "architecture": ARCHITECTURE,
            "fingerprint": digest_tensors(self.network.state_dict()),
            "data_fingerprint": self.data.fingerprint,
        }


def _moments(data: PackedData) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations ``[K]`` of condition vectors."""
    numbers = data.spec.numbers
    return torch.tensor([each.mean for each in numbers]), torch.tensor([each.std for each in numbers])


def train_regressor(
    data: PackedData,
    *,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Regressor:
    """Train on images with condition vectors by squared error; see `train_network`.

    Raises:
        DataError: The data are no images, have no vectors, or are too few.
    """
    if data.labels is None or not data.number_names or not data.spec.is_image:
        raise DataError(f"{data.name} holds no images with condition vectors", "use such data")
    mean, std = _moments(data)
    network = train_network(
        data,
        (data.labels - mean) / std,
        len(data.number_names),
        functional.mse_loss,
        seed=seed,
        epochs=EPOCHS,
        least_steps=_STEPS,
        device=device,
        progress=progress,
    )
    return Regressor(network, data)


def cached_regressor(
    data: PackedData,
    folder: Path,
    *,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Regressor, str]:
    """Return the regressor of some data from a folder, trained if missing or damaged, and a message on its origin."""
    path = folder / f"{data.fingerprint[:16]}-numbers.safetensors"
    try:
        tensors, card = read_tensors(path)
        require_card(path, card, _Card)
        if card["kind"] == "regressor" and card["fingerprint"] == data.fingerprint:
            network = build_network(data.spec.shape, len(data.number_names))
            network.load_state_dict(tensors)
            return Regressor(network.to(device or torch.device("cpu")).eval(), data), f"regressor: {path}"
    except (CheckpointError, RuntimeError):  # missing, damaged or of an older version
        pass
    trained = train_regressor(data, device=device, progress=progress)
    card = {"kind": "regressor", "architecture": ARCHITECTURE, "fingerprint": data.fingerprint}
    try:
        save_tensors(path, trained.network.state_dict(), card)
    except (GanforgeError, OSError) as error:
        return trained, f"a regressor was trained, but not saved: {error}"
    return trained, f"a regressor was trained on {data.name} and saved as {path}"
