"""Configurations as commented TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from ganforge.config.optimizers import OptimizerSettings
from ganforge.config.schema import RunConfig, TrainingConfig
from ganforge.plugins.kinds import KINDS
from ganforge.plugins.registry import Registry

HEAD = """\
# Run: ganforge train --config {name}
# Commented settings are defaults. Flags on the command line override this file.
"""

_DATA = {
    "source": "folder, zip or .npy; or name of a data set",
    "resolution": "edge of the images in pixels, or WIDTHxHEIGHT; none: the data's own, if all images share a size",
    "skip_bad": "skip unreadable images, at most one in ten",
    "sources": "folder, zip or .npy of unpaired source images; or name of a data set; none: no sources",
}

_SHARED = {
    "weight": "weight of the penalty",
    "every": "interval in steps; the gradient is scaled to compensate",
    "probability": "share of transformed examples",
}


def write_toml(config: RunConfig, given: Mapping[str, Any], registry: Registry, name: str) -> str:
    """Format a configuration as TOML with a comment for each setting; all but `given` settings are commented out."""
    tree = config.tree()
    recipe = registry.part("recipe", config.recipe)
    lines = [HEAD.format(name=name), f"recipe = {_value(config.recipe)}  # {recipe.summary}"]
    source = config.data.source
    data = _DATA | (_explain(registry, "dataset", source) if source in registry.names("dataset") else {})
    lines += _section("data", tree["data"], given.get("data", {}), data)
    for kind in ("generator", "discriminator", "loss"):
        part = registry.part(kind, tree[kind]["name"])
        explained = {"name": part.summary} | _explain(registry, kind, part.name)
        lines += _section(kind, tree[kind], {"name", *given.get(kind, {})}, explained)
    for kind in ("regularizer", "augmentation", "logger", "callback"):
        section = KINDS[kind].plural
        for each, options in tree[section].items():
            explained = _SHARED | _explain(registry, kind, each)
            lines += _section(f"{section}.{each}", options, given[section][each], explained)
    lines += _optimizers(config, tree["optimizer"], given.get("optimizer", {}), registry)
    lines += _section("training", tree["training"], given.get("training", {}), _helps(TrainingConfig))
    return "\n".join(lines) + "\n"


def _optimizers(
    config: RunConfig, section: Mapping[str, Any], given: Mapping[str, Any], registry: Registry
) -> Iterator[str]:
    """Yield the lines of the section that players share, and of the table of each player."""
    helps = _helps(OptimizerSettings)
    for each in config.optimizer.values():
        helps |= _explain(registry, "optimizer", each.name)
    yield from _section(
        "optimizer", {key: section[key] for key in section if key not in config.optimizer}, given, helps
    )
    for player in config.optimizer:
        if player in section:  # a file of shared values alone would change this player
            yield from _section(f"optimizer.{player}", section[player], section[player], helps)


def _helps(kind: type[Any]) -> dict[str, str]:
    return {each.name: each.metadata["help"] for each in fields(kind)}


def _explain(registry: Registry, kind: str, name: str) -> dict[str, str]:
    return {option.name: option.help for option in registry.options(kind, name).values()}


def _section(title: str, values: Mapping[str, Any], given: Any, helps: Mapping[str, str]) -> Iterator[str]:
    yield f"\n[{title}]"
    for name, value in values.items():
        words = f"  # {helps[name]}" if helps.get(name) else ""
        yield f"{'' if name in given else '# '}{name} = {_value(value)}{words}"


def _value(value: Any) -> str:
    return json.dumps("none" if value is None else value)
