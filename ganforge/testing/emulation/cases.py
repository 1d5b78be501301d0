"""Cases of the emulation: what is trained, under which execution plan, and in which situation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensor

from ganforge.config.schema import PartConfig, RunConfig, resolve
from ganforge.config.sources import merge
from ganforge.contract.capabilities import Growing, Recomputable
from ganforge.contract.data import DataSpec
from ganforge.data.pack import probe_spec
from ganforge.plugins import registry as registered
from ganforge.plugins.loading import Plugin, load_plugins
from ganforge.plugins.registry import Registry
from ganforge.sampling import can_truncate, generate_batches
from ganforge.testing.emulation.hooks import emulated_cuda, run_apart
from ganforge.testing.emulation.training import CUDA, EmulatedRun
from ganforge.testing.emulation.watch import Summary, Watch
from ganforge.training.execution.engine import ExecutionPlan

SIZE = 16
"""Edge of the images in pixels."""

SMALL = {"width": 4, "max_width": 8, "hidden": (8, 8)}
"""Options that make ganforge's own networks small."""

SHORT = {"stage_images": 100, "fade_images": 100, "start_resolution": 8}
"""Options that make the stages of networks short."""

FADING = 150
"""Images in the middle of a fade-in."""

PLANS = {
    "float32": ExecutionPlan(),
    "channels_last": ExecutionPlan(layout="channels_last"),
    "bfloat16": ExecutionPlan(precision="bfloat16", layout="channels_last"),
}


@dataclass(frozen=True)
class Subject:
    """Configuration to train, by its name."""

    name: str
    tree: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def open(self, registry: Registry, **training: Any) -> tuple[RunConfig, DataSpec]:
        """Return the configuration with small networks and batches, and the format of its data."""
        recipe = registry.part("recipe", self.tree["recipe"]).factory
        images = {} if "data" in recipe.settings else {"data": {"resolution": SIZE}}
        layers = [images, self.tree, {"training": {"batch": 4, **training}}]
        config = resolve(registry, *layers)
        small = {
            kind: _shrink(registry.part(kind, part.name), self.tree.get(kind, {})) for kind, part in _networks(config)
        }
        config = resolve(registry, *layers, small)
        return config, probe_spec(config.data, registry)


def _shrink(part: registered.Part, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a part that make it small, without those that are given."""
    options = SHORT | (SMALL if part.plugin.distribution == "ganforge" else {})
    return {name: value for name, value in options.items() if name in part.options and name not in given}


def emulate(subject: Subject, plan: str, situation: str, part: Part | None = None) -> Summary | None:
    """Watch a subject in a situation, in a process for emulation; None if the situation does not apply to it.

    Args:
        subject: What to train.
        plan: Name of an execution plan in `PLANS`.
        situation: Name in `SITUATIONS`.
        part: Kind and class of a part that is not installed; its name is `CHECKED`.
    """
    return run_apart(_emulate, subject, plan, situation, part)


def _emulate(subject: Subject, plan: str, situation: str, part: Part | None) -> Summary | None:
    watch = SITUATIONS[situation](subject, PLANS[plan], open_registry(part))
    return None if watch is None else watch.summary()


CHECKED = "checked"

Part = tuple[str, type]


@cache
def open_registry(part: Part | None = None) -> Registry:
    """Return the parts of installed plugins, and one more."""
    parts = {} if part is None else {part[0]: {CHECKED: part[1]}}
    return Registry([*load_plugins(), Plugin(CHECKED, CHECKED, "", "ok", parts=parts)])


def _train(subject: Subject, plan: ExecutionPlan, registry: Registry) -> Watch:
    """Take a step with all lazy penalties, and one without."""
    config, data = subject.open(registry)
    with emulated_cuda():
        run = EmulatedRun.open(config, registry, data, plan)
        watch = Watch(run.state.networks())
        with watch:
            run.take_step(0)
            run.take_step(1)
    return watch


def _networks(config: RunConfig) -> list[tuple[str, PartConfig]]:
    both = [("generator", config.generator), ("discriminator", config.discriminator)]
    return both if config.training.d_steps else both[:1]


def _fade(subject: Subject, plan: ExecutionPlan, registry: Registry) -> Watch | None:
    """Take a step, and sample, while networks grow."""
    tree = merge(subject.tree, {})
    config, _ = subject.open(registry)
    for kind, part in _networks(config):
        if "growing" not in registry.options(kind, part.name):
            return None
        tree = merge(tree, {kind: {"growing": True}})
    config, data = replace(subject, tree=tree).open(registry)
    with emulated_cuda():
        run = EmulatedRun.open(config, registry, data, plan)
        run.state.images = FADING
        watch = Watch(run.state.networks())
        with watch:
            run.take_step(0)
            run.take_step(1)
    assert any(isinstance(each, Growing) for each in run.state.networks())
    return watch


def _accumulate(subject: Subject, plan: ExecutionPlan, registry: Registry) -> Watch:
    """Take a step in two microbatches."""
    config, data = subject.open(registry, batch=8)
    with emulated_cuda():
        run = EmulatedRun.open(config, registry, data, replace(plan, accumulate=2))
        watch = Watch(run.state.networks())
        with watch:
            run.take_step(0)
    return watch


def _recompute(subject: Subject, plan: ExecutionPlan, registry: Registry) -> Watch | None:
    """Take a step that recomputes activations in the backward pass."""
    config, data = subject.open(registry)
    with emulated_cuda():
        run = EmulatedRun.open(config, registry, data, replace(plan, recompute=True))
        if not any(isinstance(each, Recomputable) for each in run.state.networks()):
            return None
        watch = Watch(run.state.networks())
        with watch:
            run.take_step(0)
    return watch


def _sample(subject: Subject, plan: ExecutionPlan, registry: Registry) -> Watch:
    """Sample from the EMA, truncated if it can be."""
    config, data = subject.open(registry)
    with emulated_cuda():
        run = EmulatedRun.open(config, registry, data, plan)
        labels = run.read()[0].labels
        psi = 0.7 if can_truncate(run.state.ema) else 1.0
        watch = Watch(run.state.networks(), may_copy=True)
        with watch:
            for each in generate_batches(run.state.ema, 4, labels=labels, truncation=psi, precision=plan.precision):
                if each.device.type != CUDA.type or each.dtype != torch.float32:
                    watch.faults[f"sampling returns {each.dtype} on {each.device}"] += 1
    return watch


def _resume(subject: Subject, plan: ExecutionPlan, registry: Registry) -> Watch:
    """Take a step from a loaded checkpoint."""
    config, data = subject.open(registry)
    with emulated_cuda():
        run = EmulatedRun.open(config, registry, data, plan)
        with Watch(run.state.networks()):
            run.take_step(0)
        saved = {name: each.cpu().contiguous() for name, each in run.state.tensors().items()}
        again = EmulatedRun.open(config, registry, data, plan)
        with patch.object(FakeTensor, "__int__", lambda _: 0, create=True):  # growing networks read their stage
            again.state.load(saved)
        watch = Watch(again.state.networks())
        with watch:
            again.take_step(1)
    return watch


SITUATIONS: dict[str, Callable[[Subject, ExecutionPlan, Registry], Watch | None]] = {
    "train": _train,
    "fade": _fade,
    "accumulate": _accumulate,
    "recompute": _recompute,
    "sample": _sample,
    "resume": _resume,
}


NETWORKS = ("generator", "discriminator")

PARTS = (*NETWORKS, "loss", "regularizer", "augmentation")
"""Kinds of parts that a step uses."""


def find_subjects(registry: Registry) -> list[Subject]:
    """Return every recipe, and every other part in a recipe that suits it."""
    recipes = {name: registry.part("recipe", name).factory.settings for name in registry.names("recipe")}
    subjects = [Subject(f"recipe {name}", {"recipe": name}) for name in recipes]
    for kind in PARTS:
        used = {name for settings in recipes.values() for name in _names_in(settings, kind)}
        others = [name for name in registry.names(kind) if name not in used]
        subjects += [Subject(f"{kind} {name}", place_part(kind, name, {})) for name in others]
    return subjects


def _names_in(settings: Mapping[str, Any], kind: str) -> list[str]:
    """Return the names of a recipe's parts of a kind."""
    return list(settings.get(f"{kind}s", ())) or [settings.get(kind, {}).get("name", "")]


def place_part(kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with a part: networks in DCGAN's recipe, others in StyleGAN2's with few layers."""
    if kind in NETWORKS:
        return {"recipe": "dcgan", kind: {"name": name, **options}}
    part = {"loss": {"name": name, **options}} if kind == "loss" else {f"{kind}s": {name: dict(options)}}
    few = {"data": {"resolution": SIZE // 2}, "generator": {"mapping_layers": 1}}
    return {"recipe": "stylegan2", **few, "discriminator": {"minibatch": "none"}, **part}
