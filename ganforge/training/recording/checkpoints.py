"""Checkpoint files: writing, retention, and broadcast to all processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from ganforge.config.schema import TrainingConfig
from ganforge.core.atomic_files import remove
from ganforge.core.distributed import Workers
from ganforge.runs.checkpoint import frozen_path, of_network, save_generator, save_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training.state import select


def share_checkpoint(
    workers: Workers, read: Callable[[], tuple[dict[str, Tensor], dict[str, Any]] | None]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and their card in the main process, and broadcast them; empty if it found none."""
    tensors: dict[str, Tensor] = {}
    card: dict[str, Any] = {}

    def read_card() -> bytes:
        nonlocal tensors, card
        tensors, card = read() or ({}, {})
        return json.dumps(card).encode()

    words = workers.on_main(read_card)
    if workers.size == 1:
        return tensors, card
    content = workers.broadcast_bytes(safetensors.torch.save(tensors) if workers.is_main else None)
    return safetensors.torch.load(content), json.loads(words)


def write_checkpoint(
    folder: RunFolder,
    tensors: Mapping[str, Tensor],
    card: Mapping[str, Any],
    training: TrainingConfig,
    best: int | None,
    frozen: Collection[str] = (),
) -> None:
    """Write the EMA generator and a checkpoint, and remove old checkpoints, except that of the best score.

    Frozen tensors have a file of their own; `tensors` holds them only under the names of EMAs.
    """
    for name, of_generator in {"": card["generator"], **card.get("networks", {})}.items():
        ema = select(tensors, f"average.{name}" if name else "average")
        save_generator(folder.generator_path(name), ema, {**of_generator, "images": card["images"]})
    stored = {name: each for name, each in tensors.items() if of_network(name) not in frozen}
    save_tensors(folder.checkpoint_path(card["images"]), stored, card)
    for old in choose_old(folder.checkpoint_paths(), training, best):
        remove(old)


def write_frozen(folder: RunFolder, tensors: Mapping[str, Tensor], digest: str) -> None:
    """Write the frozen tensors of a run once, beside its checkpoints."""
    path = frozen_path(folder.checkpoint_path(0), digest)
    if not path.exists():
        save_tensors(path, tensors, {"kind": "frozen"})


def choose_old(paths: Sequence[Path], training: TrainingConfig, best: int | None) -> list[Path]:
    """Return the checkpoints to remove; `paths` are ordered from oldest to newest."""
    old, span = [], -1
    for index, path in enumerate(paths):
        images = int(path.stem)
        newest = index >= len(paths) - training.keep_checkpoints
        first = training.keep_images is not None and images // training.keep_images > max(span, 0)
        if training.keep_images is not None:
            span = max(span, images // training.keep_images)
        if not (newest or first or images == best):
            old.append(path)
    return old
