"""Recovery from checkpoints: resume after a stop, roll back after divergence."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError, DivergenceError
from ganforge.core.atomic_files import read_bytes, remove, remove_torn_line, write_bytes
from ganforge.core.json_schema import convert
from ganforge.data.difference import describe_difference
from ganforge.runs.checkpoint import BestCard, read_card, read_tensors, require_card
from ganforge.runs.folder import RunFolder
from ganforge.runs.metric_rows import MOST_BYTES, Row, read_row
from ganforge.training.recording.checkpoints import share_checkpoint
from ganforge.training.recording.recorder import Recorder, Score

MOST_ROLLBACKS = 3  # number of rollbacks before a run fails


def resume(recorder: Recorder, device: torch.device) -> str:
    """Restore the newest valid checkpoint and return a message; raise `CheckpointError` if it does not fit."""
    folder, workers = recorder.folder, recorder.workers
    messages: list[str] = []
    tensors, card = share_checkpoint(workers, lambda: _read_newest(recorder, messages))
    if card:
        recorder.restore(tensors, card, device)
        where = f"{folder.checkpoint_path(card['images'])} at {card['images']} images"
    else:  # the run was killed before its first checkpoint; the start follows from the seed
        where = "the start"
    if workers.is_main:
        rows = _truncate_metrics(folder, recorder.state.images)
        for row in rows:
            if row.is_tick:
                recorder.health.check({name: value for name, value in row.tree().items() if value is not None})
        if recorder.rows is not None and len(rows) != recorder.rows:
            messages.append(f"{folder.metrics} has {len(rows)} rows, but the checkpoint counts {recorder.rows}")
            recorder.rows = len(rows)
        messages += filter(None, [remove_torn_line(folder.environment)])
        messages += _restore_best(recorder)
    return "; ".join([*messages, f"resuming from {where}"])


def roll_back(recorder: Recorder, device: torch.device) -> str:
    """Restore a healthy checkpoint, an earlier one each time, with a new seed and halved learning rates."""
    state, rollbacks = recorder.state, recorder.state.rollbacks
    failure = divergence_error(recorder)
    if recorder.training.on_divergence == "stop" or rollbacks >= MOST_ROLLBACKS:
        raise failure

    def read() -> tuple[dict[str, Tensor], dict[str, Any]]:
        recorder.writer.finish()
        good = _healthy_checkpoints(recorder.folder)
        if not good:
            raise failure
        path = good[min(rollbacks, len(good) - 1)]
        found = read_tensors(path)
        for later in recorder.folder.checkpoint_paths():
            if later.name > path.name:
                remove(later)
        return found

    tensors, card = share_checkpoint(recorder.workers, read)
    recorder.restore(tensors, card, device)
    if recorder.workers.is_main:
        _truncate_metrics(recorder.folder, state.images)
    state.rollbacks = rollbacks + 1
    state.streak.zero_()
    recorder.save()
    return (
        f"{failure.message}; rolling back to the checkpoint of {card['images']} images with learning rates halved "
        f"{'once' if rollbacks == 0 else f'{rollbacks + 1} times'} and a new seed"
    )


def divergence_error(recorder: Recorder) -> DivergenceError:
    """Return the error of a run with too many skipped steps."""
    state = recorder.state
    often = f" (after {state.rollbacks} rollbacks)" * bool(state.rollbacks)
    return DivergenceError(
        f"training diverged: gradients were not finite for {int(state.streak)} consecutive steps, "
        f"after {state.images} images{often}",
        f"the last valid checkpoint is {recorder.newest_checkpoint()}; try a lower learning rate, --reg r1, "
        "or --precision float32",
    )


def _read_newest(recorder: Recorder, messages: list[str]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the newest valid checkpoint that matches the data; append the errors of others to `messages`.

    None before the first checkpoint; raise `CheckpointError` if all are damaged or removed.
    """
    recorder.writer.finish()
    for path in reversed(recorder.folder.checkpoint_paths()):
        try:
            tensors, card = read_tensors(path)
        except CheckpointError as error:
            messages.append(error.message)
            continue
        if card["fingerprint"] != recorder.data.fingerprint:
            raise CheckpointError(
                "the data changed since the run began: "
                + describe_difference(card["generator"]["data"], recorder.data),
                "restore the data, or start a new run, with --init-from to reuse the weights",
            )
        return tensors, card
    if messages:
        raise CheckpointError(f"{recorder.folder.path} cannot be resumed: {'; '.join(messages)}", "start a new run")
    generator = recorder.folder.generator
    if generator.exists() and read_card(generator).get("images"):
        raise CheckpointError(
            f"{recorder.folder.checkpoints} has no checkpoint",
            "restore the newest, or start a new run, with --init-from to reuse the generator",
        )
    return None


def _healthy_checkpoints(folder: RunFolder) -> list[Path]:
    """Return readable checkpoints without skipped steps, newest first."""
    found = []
    for path in reversed(folder.checkpoint_paths()):
        with suppress(CheckpointError):
            if not read_card(path).get("streak"):
                found.append(path)
    return found


def _restore_best(recorder: Recorder) -> list[str]:
    """Restore the best score; remove a best generator from beyond the checkpoint. Return an error as a list."""
    path = recorder.folder.best_generator
    if not path.exists():
        return []
    try:
        card = read_card(path)
        require_card(path, card, BestCard)
    except CheckpointError as error:
        return [error.message]
    if card["images"] > recorder.state.images:
        remove(path)
    else:
        recorder.best = convert({**card["score"], "images": card["images"]}, Score)
    return []


def _truncate_metrics(folder: RunFolder, images: int) -> list[Row]:
    """Truncate the metrics after `images`, and return the remaining rows."""
    try:
        content = read_bytes(folder.metrics, MOST_BYTES, follow=False)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{folder.metrics}: cannot be read: {error.strerror or error}") from error
    lines = content.decode("utf-8", errors="replace").splitlines(keepends=True)
    try:
        rows = [(line, read_row(line)) for line in lines if line.endswith("\n")]
        kept = [(line, row) for line, row in rows if row.images <= images]
    except ValueError as error:
        raise CheckpointError(f"{folder.metrics}: a row is damaged: {error}", "remove that row") from error
    write_bytes(folder.metrics, "".join(line for line, _ in kept).encode())
    return [row for _, row in kept]
