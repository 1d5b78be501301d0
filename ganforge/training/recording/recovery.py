"""How a run goes on from one of its checkpoints: where it was stopped, or where all was still well."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError, DivergenceError
from ganforge.core.atomic_files import read_bytes, remove, remove_torn_line, write_bytes
from ganforge.data.difference import describe_difference
from ganforge.runs.checkpoint import read_card, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.runs.metric_rows import MOST_BYTES, Row, read_row
from ganforge.training.recording.checkpoints import share_checkpoint
from ganforge.training.recording.recorder import Recorder, Score

MOST_ROLLBACKS = 3
"""So often a run goes back before it is given up."""


def resume(record: Recorder, device: torch.device) -> str:
    """Take up the newest checkpoint that is whole.

    Returns:
        What was taken up, in words.

    Raises:
        CheckpointError: There is none, or it belongs to other data or other networks.
    """
    folder, workers = record.folder, record.workers
    said: list[str] = []
    found = None
    if workers.is_main:
        record.writer.finish()
        found = _read_newest(record, said)
        if found is None and said:
            raise CheckpointError(f"{folder.path} cannot be resumed: {'; '.join(said)}", "start a new run")
    tensors, card = share_checkpoint(workers, found)
    if card:
        record.take_up(tensors, card, device)
        where = f"{folder.checkpoint_path(card['images'])} at {card['images']} images"
    else:  # it was killed before the first checkpoint; the start follows from the seed
        where = "the start"
    if workers.is_main:
        rows = _forget_rows_after(folder, record.state.images)
        for row in rows:
            if row.is_tick:
                record.watch.look({name: value for name, value in row.tree().items() if value is not None})
        if record.rows is not None and len(rows) != record.rows:
            said.append(f"{folder.metrics} holds {len(rows)} rows of the {record.rows} that were written by then")
            record.rows = len(rows)
        said += filter(None, [remove_torn_line(folder.environment)])
        said += _find_best(record)
    return "; ".join([*said, f"going on from {where}"])


def roll_back(record: Recorder, device: torch.device) -> str:
    """Go back to a good checkpoint, an earlier one each time, with other random numbers and lower learning rates.

    Returns:
        What was done, in words.

    Raises:
        DivergenceError: It was done `MOST_ROLLBACKS` times, or must not be done; or there is no good checkpoint.
    """
    state, rollbacks = record.state, record.state.rollbacks
    given_up = give_up(record)
    if record.training.on_divergence == "stop" or rollbacks >= MOST_ROLLBACKS:
        raise given_up
    found = None
    if record.workers.is_main:
        record.writer.finish()
        good = _find_good(record.folder)
        if not good:
            raise given_up
        path = good[min(rollbacks, len(good) - 1)]
        found = read_tensors(path)
        for later in record.folder.checkpoint_paths():
            if later.name > path.name:
                remove(later)
    tensors, card = share_checkpoint(record.workers, found)
    record.take_up(tensors, card, device)
    if record.workers.is_main:
        _forget_rows_after(record.folder, state.images)
    state.rollbacks = rollbacks + 1
    state.streak.zero_()
    record.save()
    return (
        f"{given_up.message}; going back to the checkpoint of {card['images']} images with learning rates halved "
        f"{'once' if rollbacks == 0 else f'{rollbacks + 1} times'} and other random numbers"
    )


def give_up(record: Recorder) -> DivergenceError:
    """What there is to be said of a run whose steps have to be skipped, one after the other."""
    state = record.state
    often = f" (after going back {state.rollbacks} times)" * bool(state.rollbacks)
    return DivergenceError(
        f"training diverged: gradients were not finite for {int(state.streak)} steps on end, "
        f"after {state.images} images{often}",
        f"the last good state is {record.newest_checkpoint()}; try a lower learning rate, --reg r1, "
        "or --precision float32",
    )


def _read_newest(record: Recorder, said: list[str]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint that is whole, checked against the data; `said` gets why others are passed over."""
    for path in reversed(record.folder.checkpoint_paths()):
        try:
            tensors, card = read_tensors(path)
        except CheckpointError as error:
            said.append(error.message)
            continue
        if card["fingerprint"] != record.data.fingerprint:
            raise CheckpointError(
                "the data changed since the run began: " + describe_difference(card["generator"]["data"], record.data),
                "put the old data back, or start a new run, with --init-from if it is to begin with these weights",
            )
        return tensors, card
    return None


def _find_good(folder: RunFolder) -> list[Path]:
    """Checkpoints that can be read and were written while all was well, newest first."""
    found = []
    for path in reversed(folder.checkpoint_paths()):
        with suppress(CheckpointError):
            if not read_card(path).get("streak"):
                found.append(path)
    return found


def _find_best(record: Recorder) -> list[str]:
    """Take up the best generator so far; one from beyond that is removed, since the run will come by it again.

    Returns:
        Why it is passed over, if it is damaged.
    """
    path = record.folder.best_generator
    if not path.exists():
        return []
    try:
        card = read_card(path)
    except CheckpointError as error:
        return [error.message]
    if card["images"] > record.state.images:
        remove(path)
    else:
        record.best = Score(**card["score"], images=card["images"])
    return []


def _forget_rows_after(folder: RunFolder, images: int) -> list[Row]:
    """Keep the rows of metrics up to so many images, which are given back."""
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
