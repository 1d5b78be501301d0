"""From a configuration to a run that can begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import torch

from ganforge.config import CPU_MINUTES, CUDA_IMAGES, RunConfig, TrainingConfig
from ganforge.data.store import PackedData
from ganforge.registry import Registry
from ganforge.runs import RunFolder
from ganforge.training.batches import Batches
from ganforge.training.engine import Engine, Plan
from ganforge.training.record import Record
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


def open_batches(training: TrainingConfig, data: PackedData, device: torch.device) -> Batches:
    """Make the batches of a run; see `Batches` for errors."""
    return Batches(data, training.seed, device, holdout=training.holdout, num_labels=training.labels)


def open_engine(
    training: TrainingConfig, state: TrainingState, device: torch.device, say: Callable[[str], None]
) -> Engine:
    """Make the engine of a run that is settled, and bring its networks into the layout.

    Args:
        training: With all of a `Plan` said.
        state: The players.
        device: Where they are.
        say: Told in one line what cannot be done as planned.
    """
    plan = Plan(**{each.name: getattr(training, each.name) for each in fields(Plan)})
    engine = Engine(plan, device, say)
    for network in state.networks():
        engine.place(network)
    state.match_layouts()
    return engine


def open_record(
    config: RunConfig, registry: Registry, data: PackedData, folder: RunFolder, state: TrainingState
) -> Record:
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
            "shape": list(data.spec.shape),
            "class_names": list(data.spec.class_names),
            "fingerprint": data.fingerprint,
        },
        "recipe": config.recipe,
        "seed": config.training.seed,
        "ganforge": __version__,
    }
    training = config.training
    return Record(
        folder, state, data, card, seed=training.seed, samples=training.samples, tick_images=training.tick_images
    )
