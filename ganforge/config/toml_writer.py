"""A configuration as a TOML file that explains itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from ganforge.config.schema import OptimizerConfig, RunConfig, TrainingConfig
from ganforge.plugins.registry import Registry

HEAD = """\
# A run of ganforge: ganforge train --config {name}
# What is commented out is as it is by default. Flags on the command line go over what stands here.
"""

_DATA = {
    "source": "a folder, zip or .npy; or the name of a data set",
    "resolution": "edge of the images in pixels; none: as they are, if they are of one size",
    "skip_bad": "leave out images that cannot be read, one in ten at most",
}

_SHARED = {
    "weight": "of the penalty",
    "every": "steps from one time to the next; it counts so many times then",
    "probability": "share of the examples that is changed",
}


def write_toml(config: RunConfig, given: Mapping[str, Any], registry: Registry, name: str) -> str:
    """A configuration with a word on each setting.

    Args:
        config: All of it.
        given: The part of its tree that is not by default: these lines are no comments.
        registry: Where options are explained.
        name: Of the file.
    """
    tree = config.tree()
    recipe = registry.part("recipe", config.recipe)
    lines = [HEAD.format(name=name), f"recipe = {_value(config.recipe)}  # {recipe.summary}"]
    helps = {each.name: each.metadata["help"] for kind in (OptimizerConfig, TrainingConfig) for each in fields(kind)}
    source = config.data.source
    data = _DATA | (_explain(registry, "dataset", source) if source in registry.names("dataset") else {})
    lines += _section("data", tree["data"], given.get("data", {}), data)
    for kind in ("generator", "discriminator", "loss"):
        part = registry.part(kind, tree[kind]["name"])
        explained = {"name": part.summary} | _explain(registry, kind, part.name)
        lines += _section(kind, tree[kind], {"name", *given.get(kind, {})}, explained)
    for section, kind in (("regularizers", "regularizer"), ("augmentations", "augmentation"), ("loggers", "logger")):
        for each, options in tree[section].items():
            explained = _SHARED | _explain(registry, kind, each)
            lines += _section(f"{section}.{each}", options, given[section][each], explained)
    for section in ("optimizer", "training"):
        lines += _section(section, tree[section], given.get(section, {}), helps)
    return "\n".join(lines) + "\n"


def _explain(registry: Registry, kind: str, name: str) -> dict[str, str]:
    return {option.name: option.help for option in registry.options(kind, name).values()}


def _section(title: str, values: Mapping[str, Any], given: Any, helps: Mapping[str, str]) -> Iterator[str]:
    yield f"\n[{title}]"
    for name, value in values.items():
        words = f"  # {helps[name]}" if helps.get(name) else ""
        yield f"{'' if name in given else '# '}{name} = {_value(value)}{words}"


def _value(value: Any) -> str:
    """A value as TOML, which writes words, numbers and lists as JSON does."""
    return json.dumps("none" if value is None else value)
