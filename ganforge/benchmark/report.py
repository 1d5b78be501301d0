"""Run the measurements of ``ganforge bench`` and collect them in one report."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ganforge.benchmark.compare import compare_players
from ganforge.benchmark.fit import fit_batches
from ganforge.benchmark.inference import measure_serving
from ganforge.benchmark.measure import describe_machine, measure_recipe
from ganforge.benchmark.training_setup import draw_noise, open_players
from ganforge.config.schema import RunConfig, resolve
from ganforge.config.sources import load_layers, merge
from ganforge.contract.errors import OptionError
from ganforge.core.console import progress_bar, say
from ganforge.core.device import choose_device
from ganforge.core.memory import free_memory
from ganforge.data.pack import open_configured, probe_spec
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry

SERVING = {"device": "cpu", "engine": "eager", "precision": "float32", "layout": "contiguous", "recompute": False}
"""Execution of the network in `measure_serving`; nothing is left to autotune."""


class BenchmarkRequest(NamedTuple):
    """Selection of measurements.

    Attributes:
        seconds: Approximate time per case.
        variants: Settings by variant; empty to measure one recipe.
        fit: Whether to find the largest batch that fits into memory.
        serve: Whether to measure the exported files.
    """

    seconds: float
    variants: Mapping[str, Sequence[str]]
    fit: bool
    serve: bool


def check_export_flags(given: Mapping[str, Any]) -> None:
    """Refuse flags that contradict ``--export``.

    Raises:
        OptionError: One of them is given, or a device other than the CPU.
    """
    for name in ("--compare", "--fit", "--batch", "--engine", "--precision"):
        if given.get(name):
            raise OptionError(
                f"--export and {name} are mutually exclusive", "--export measures fixed batches and precisions"
            )
    if given.get("--device", "cpu") not in ("auto", "cpu"):
        raise OptionError(
            f"--device {given['--device']}: --export measures files on the CPU", "use --device cpu, or omit it"
        )


def run_benchmark(
    layers: Sequence[Mapping[str, Any]], request: BenchmarkRequest, registry: Registry
) -> tuple[dict[str, Any], str]:
    """Measure a recipe.

    Args:
        layers: Configuration trees; later ones override earlier ones.
        request: What to measure.
        registry: Where parts are looked up.

    Returns:
        The report and the execution plan in words.
    """
    settled, data = _settle(registry, layers)
    device = choose_device(settled.training.device)
    free, threads = free_memory(device), torch.get_num_threads()
    try:
        players = open_players(settled, registry, data, device, say)
        settled = players.config
        plan = players.engine.plan
        report = {
            "command": " ".join(["ganforge", *sys.argv[1:]]),
            **describe_machine(device),
            "plan": vars(plan),
            "batch": settled.training.batch,
            "d_steps": settled.training.d_steps,
            "begin_images": players.begin,
            "data": {"name": data.name, "shape": list(data.spec.shape), "examples": len(data)},
            "config": settled.tree(),
        }
        if request.serve:
            report["serving"] = measure_serving(players, registry, request.seconds, say)
        words = "each variant by its own plan" if request.variants else plan.describe()
        if request.variants:
            variants = {}
            for name, settings in request.variants.items():
                own, own_data = _settle(registry, [*layers, *load_layers(settings=settings)])
                variants[name] = open_players(own, registry, own_data, device, say)
            report["compare"] = compare_players(variants, request.seconds)
        if request.fit:
            report["free_bytes"] = free
            report["fit"] = [
                {
                    "shape": list(each.shape),
                    "measured": [{"batch": count, "bytes": size} for count, size in each.points],
                    "fixed_bytes": each.line.fixed,
                    "bytes_per_example": each.line.each,
                    "straight": each.straight,
                    "largest_batch": each.largest,
                }
                for each in fit_batches(settled, registry, data.spec, device, free)
            ]
        if not (request.variants or request.fit or request.serve):
            report |= measure_recipe(players, request.seconds, say)
    finally:
        torch.set_num_threads(threads)
    return report, words


def _settle(registry: Registry, layers: Sequence[Mapping[str, Any]]) -> tuple[RunConfig, PackedData]:
    """Return the configuration and its data; noise of the recipe's shape where the user names no data."""
    settled = resolve(registry, *layers)
    if "source" not in merge(*layers).get("data", {}):
        return settled, draw_noise(probe_spec(settled.data, registry), settled.training.batch)
    with progress_bar("preparing data") as progress:
        data = open_configured(settled.data, registry, progress=progress)
    if data.note:
        say(data.note)
    return settled, data
