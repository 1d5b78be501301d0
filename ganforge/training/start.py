"""Construction of the objects of a run from its configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import torch

from ganforge.config.schema import CPU_MINUTES, GPU_IMAGES, RunConfig, TrainingConfig
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.core.distributed import ALONE, Workers
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import describe_spec
from ganforge.runs.folder import RunFolder
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording.recorder import Recorder
from ganforge.training.state import TrainingState
from ganforge.version import __version__


def set_default_budget(config: RunConfig, device: torch.device) -> RunConfig:
    """Set the default budget for the device if the configuration has none."""
    training = config.training
    if training.images is None and training.minutes is None:
        training = (
            replace(training, minutes=CPU_MINUTES) if device.type == "cpu" else replace(training, images=GPU_IMAGES)
        )
    return replace(config, training=training)


def split_batches(config: RunConfig, workers: Workers) -> RunConfig:
    """Set the number of microbatches to a multiple of the number of processes; raise `OptionError` if indivisible."""
    batch, parts = config.training.batch, math.lcm(config.training.accumulate, workers.size)
    if workers.size > 1 and batch % parts:
        raise OptionError(
            f"--batch {batch} is not divisible into {parts} equal microbatches for {workers.size} processes",
            f"use --batch {max(parts, batch // parts * parts)}, or another number of processes",
        )
    return replace(config, training=replace(config.training, accumulate=parts))


def open_batches(training: TrainingConfig, data: PackedData, device: torch.device) -> Batches:
    """Construct the batches of a run."""
    return Batches(data, training.seed, device, holdout=training.holdout, num_labels=training.labels)


def open_engine(
    training: TrainingConfig,
    state: TrainingState,
    device: torch.device,
    log: Callable[[str], None],
    workers: Workers = ALONE,
) -> Engine:
    """Construct the engine of a run from a complete plan, and prepare its networks."""
    plan = ExecutionPlan(**{each.name: getattr(training, each.name) for each in fields(ExecutionPlan)})
    engine = Engine(plan, device, log, workers)
    for network in state.networks():
        engine.prepare(network)
    state.match_memory_format()
    return engine


def open_recorder(
    config: RunConfig,
    registry: Registry,
    data: PackedData,
    folder: RunFolder,
    state: TrainingState,
    workers: Workers = ALONE,
) -> Recorder:
    """Construct the recorder of a run, with the cards of its generators."""

    def describe(name: str, options: Mapping[str, Any], spec: DataSpec) -> dict[str, Any]:
        return {
            "generator": registry.part("generator", name).describe(options),
            "data": {
                "name": data.name,
                **describe_spec(spec),
                "num_examples": len(data),
                "fingerprint": data.fingerprint,
            },
            "recipe": config.recipe,
            "seed": config.training.seed,
            "ganforge": __version__,
        }

    card = describe(config.generator.name, config.generator.options, data.spec)
    networks = {
        each.key: describe(each.name, each.options, each.spec(data.spec))
        for each in config.networks
        if each.key in state.averages
    }
    return Recorder(folder, state, data, card, config.training, workers, networks)
