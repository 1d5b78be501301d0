"""Discriminators of runs, from their newest checkpoints."""

from __future__ import annotations

from ganforge.config.schema import PartConfig
from ganforge.contract.errors import CheckpointError
from ganforge.contract.networks import Discriminator
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.runs.checkpoint import read_tensors


def load_discriminator(run: TrainedRun, part: PartConfig) -> tuple[Discriminator, int]:
    """Return the discriminator of the newest checkpoint in evaluation mode, and the number of images it has seen.

    Args:
        run: The run.
        part: Its discriminator, see `stored_discriminator`.
    """
    paths = run.folder.checkpoint_paths()
    if not paths:
        raise CheckpointError(f"{run.folder.path} has no checkpoint", f"ganforge train --resume {run.folder.path}")
    tensors, card = read_tensors(paths[-1])
    if card["fingerprint"] != run.data.fingerprint:
        raise CheckpointError(f"{run.data.name} changed since the run was trained", "restore it, or train again")
    network: Discriminator = run.registry.build("discriminator", part.name, part.options, run.data.spec)
    prefix = "discriminator/"
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise CheckpointError(f"{paths[-1]}: does not fit discriminator '{part.name}': {text}") from error
    return network.eval(), card["images"]
