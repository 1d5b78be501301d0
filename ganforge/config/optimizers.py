"""Section ``optimizer``: settings of both players, and what a table of one player changes.

::

    [optimizer]
    name = "adam"            # with its options, such as beta1, for both players
    generator_lr = 0.0002    # learning rate of each player
    warmup = 0
    clip = "none"
    [optimizer.generator]    # another name, warmup, clip or options of this player alone
    beta1 = 0.0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ganforge.config.limits import read_settings, setting
from ganforge.contract.errors import OptionError, nearest
from ganforge.contract.optimizer import Optimizer
from ganforge.contract.schedules import Schedule
from ganforge.plugins.registry import Registry

PLAYERS = ("generator", "discriminator")

_OF_PLAYER = ("name", "warmup", "clip")
"""Settings that a player's table may change."""


@dataclass(frozen=True)
class OptimizerSettings:
    """Settings of every optimizer; learning rates may be schedules."""

    name: str = setting("adam", "optimizer of both players")
    generator_lr: Schedule = setting(Schedule.constant(2e-4), "learning rate of the generator", least=0)
    discriminator_lr: Schedule = setting(Schedule.constant(2e-4), "learning rate of the discriminator", least=0)
    warmup: int = setting(0, "images over which learning rates rise linearly from 0", least=0)
    clip: float | None = setting(None, "maximum norm of a player's gradient; none: no limit", above=0)


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer of one player: its name and options, learning rate, images of warm-up, and maximum gradient norm."""

    name: str
    lr: Schedule
    warmup: int
    clip: float | None
    options: Mapping[str, Any]
    part: Optimizer = field(repr=False, compare=False)

    def lr_at(self, images: int) -> float:
        """Return the learning rate after `images` images."""
        rate = self.lr.at(images)
        return rate * images / self.warmup if images < self.warmup else rate


def resolve_optimizers(registry: Registry, section: Mapping[str, Any]) -> dict[str, OptimizerConfig]:
    """Return the optimizer of each player."""
    settings = [each.name for each in fields(OptimizerSettings)]
    tables = {player: section.get(player, {}) for player in PLAYERS}
    for player, table in tables.items():
        if not isinstance(table, Mapping):
            raise OptionError(f"optimizer.{player} must be a table, not {table!r}", "such as { beta1 = 0.0 }")
    shared = read_settings(OptimizerSettings, {key: section[key] for key in settings if key in section}, "optimizer")
    options = {key: value for key, value in section.items() if key not in settings and key not in tables}
    _require_known(registry, shared.name, options, [*settings, *PLAYERS], "optimizer")
    return {player: _resolve_player(registry, player, shared, options, table) for player, table in tables.items()}


def _resolve_player(
    registry: Registry, player: str, shared: OptimizerSettings, options: Mapping[str, Any], table: Mapping[str, Any]
) -> OptimizerConfig:
    where = f"optimizer.{player}"
    given = {key: table.get(key, getattr(shared, key)) for key in _OF_PLAYER}
    own = read_settings(OptimizerSettings, given, where)
    others = {key: value for key, value in table.items() if key not in _OF_PLAYER}
    _require_known(registry, own.name, others, _OF_PLAYER, where)
    if own.name == shared.name:  # options of another optimizer do not fit
        others = {**options, **others}
    return OptimizerConfig(
        name=own.name,
        lr=getattr(shared, f"{player}_lr"),
        warmup=own.warmup,
        clip=own.clip,
        options=registry.check("optimizer", own.name, others),
        part=registry.build("optimizer", own.name, others),
    )


def _require_known(
    registry: Registry, name: str, options: Mapping[str, Any], settings: Sequence[str], where: str
) -> None:
    known = registry.options("optimizer", name)
    for each in options:
        if each not in known:
            raise OptionError(f"{where} has no setting '{each}'", nearest(each, [*settings, *known]))


def optimizer_tree(optimizers: Mapping[str, OptimizerConfig]) -> dict[str, Any]:
    """Return the section that `resolve_optimizers` restores: shared settings, and a table of each player's own."""
    own = {
        player: {"name": each.name, **each.options, "warmup": each.warmup, "clip": each.clip}
        for player, each in optimizers.items()
    }
    first, *others = own.values()
    shared = {
        key: value
        for key, value in first.items()
        if all(each["name"] == first["name"] and each[key] == value for each in others)
    }
    rates = {f"{player}_lr": each.lr for player, each in optimizers.items()}
    tables = {
        player: {key: value for key, value in values.items() if key not in shared} for player, values in own.items()
    }
    return {**shared, **rates, **{player: table for player, table in tables.items() if table}}
