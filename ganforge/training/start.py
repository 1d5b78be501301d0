"""From a configuration to a run that can begin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import torch

from ganforge.config.schema import CPU_MINUTES, CUDA_IMAGES, RunConfig, TrainingConfig
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.core.distributed import ALONE, Workers
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import describe_spec, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording.recorder import Recorder
from ganforge.training.state import TrainingState
from ganforge.version import __version__


def settle_budget(config: RunConfig, device: torch.device) -> RunConfig:
    """Give a run without a budget of its own one that fits the device."""
    training = config.training
    if training.images is None and training.minutes is None:
        training = (
            replace(training, minutes=CPU_MINUTES) if device.type == "cpu" else replace(training, images=CUDA_IMAGES)
        )
    return replace(config, training=training)


def share_out(config: RunConfig, workers: Workers) -> RunConfig:
    """Let a batch fall into parts that can be shared out among a team.

    Raises:
        OptionError: It cannot.
    """
    batch, parts = config.training.batch, math.lcm(config.training.accumulate, workers.size)
    if workers.size > 1 and batch % parts:
        raise OptionError(
            f"a batch of {batch} cannot be shared out among {workers.size} processes in {parts} equal parts",
            f"give --batch {max(parts, batch // parts * parts)}, or start another number of processes",
        )
    return replace(config, training=replace(config.training, accumulate=parts))


def begin_from(state: TrainingState, path: Path) -> str:
    """Let a new run begin with the weights of another; nothing else of it is taken over.

    Args:
        state: The players, as built.
        path: A checkpoint, of which both players and the average are taken, or a saved generator.

    Returns:
        What was taken, in words.

    Raises:
        CheckpointError: The file is damaged, or its networks are others than these.
    """
    tensors, card = read_tensors(path)
    modules = state.modules()
    if card.get("kind") == "generator":
        found = {"generator": tensors, "average": tensors}
    else:
        found = {
            name: {key.removeprefix(f"{name}/"): each for key, each in tensors.items() if key.startswith(f"{name}/")}
            for name in ("generator", "discriminator", "average")
        }
    for name, weights in found.items():
        own = modules[name].state_dict()
        apart = [key for key in own.keys() | weights if key not in own or key not in weights]
        apart += [key for key in own.keys() & weights if own[key].shape != weights[key].shape]
        if apart:
            raise CheckpointError(
                f"{path}: its {name} is another than this run's; they differ in {', '.join(sorted(apart)[:3])}"
                + f" and {len(apart) - 3} more" * (len(apart) > 3),
                "give the same --arch, options and resolution as it was trained with",
            )
        modules[name].load_state_dict(weights)
    return f"beginning with the weights of {path}, which had seen {card.get('images', 'unknown')} images"


def open_batches(training: TrainingConfig, data: PackedData, device: torch.device) -> Batches:
    """Make the batches of a run; see `Batches` for errors."""
    return Batches(data, training.seed, device, holdout=training.holdout, num_labels=training.labels)


def open_engine(
    training: TrainingConfig,
    state: TrainingState,
    device: torch.device,
    say: Callable[[str], None],
    workers: Workers = ALONE,
) -> Engine:
    """Make the engine of a run that is settled, and bring its networks into the layout.

    Args:
        training: With all of a `ExecutionPlan` said.
        state: The players.
        device: Where they are.
        say: Told in one line what cannot be done as planned.
        workers: The processes that train together.
    """
    plan = ExecutionPlan(**{each.name: getattr(training, each.name) for each in fields(ExecutionPlan)})
    engine = Engine(plan, device, say, workers)
    for network in state.networks():
        engine.place(network)
    state.match_layouts()
    return engine


def open_record(
    config: RunConfig,
    registry: Registry,
    data: PackedData,
    folder: RunFolder,
    state: TrainingState,
    workers: Workers = ALONE,
) -> Recorder:
    """Make the record of a run, with the card that its generator will carry."""
    part = registry.part("generator", config.generator.name)
    card = {
        "generator": {
            "name": part.name,
            "options": dict(config.generator.options),
            "plugin": part.plugin.name,
            "distribution": part.plugin.distribution,
            "distribution_version": part.plugin.version,
        },
        "data": {
            "name": data.name,
            **describe_spec(data.spec),
            "num_examples": len(data),
            "fingerprint": data.fingerprint,
        },
        "recipe": config.recipe,
        "seed": config.training.seed,
        "ganforge": __version__,
    }
    return Recorder(folder, state, data, card, config.training, workers)
