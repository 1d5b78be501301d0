"""Sections of a run's stored configuration, read without the plugins of all others.

``config.json`` has every option, so its recipe is not needed either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganforge.config.data import DataConfig, read_data
from ganforge.config.limits import read_settings
from ganforge.config.schema import PartConfig, TrainingConfig, read_part
from ganforge.contract.errors import OptionError
from ganforge.plugins.registry import Registry


def stored_data(registry: Registry, config: Mapping[str, Any]) -> DataConfig:
    """Return the section ``data``."""
    return read_data(registry, config["data"])


def stored_training(config: Mapping[str, Any]) -> TrainingConfig:
    """Return the section ``training``; settings that an older version did not have are at their defaults."""
    settings: TrainingConfig = read_settings(TrainingConfig, config.get("training", {}), "training")
    return settings


def stored_discriminator(registry: Registry, config: Mapping[str, Any]) -> PartConfig:
    """Return the section ``discriminator``; raise `OptionError` if the run has no discriminator."""
    if stored_training(config).d_steps == 0:
        raise OptionError("this run was trained without a discriminator", "choose another metric")
    return read_part(registry, config, "discriminator")
