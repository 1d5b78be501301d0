"""Report of one recipe: speed, use of the machine, and memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

import torch

from ganforge.benchmark.cases import LoopCase, data_case, export_case, machine_cases, sample_case, step_case
from ganforge.benchmark.timing import Case, Timing, measure_cases, weighted_mean
from ganforge.benchmark.training_setup import Players, count_step
from ganforge.contract.errors import GanforgeError
from ganforge.core.accelerator import backend_of, name_device
from ganforge.training.execution.counting import peak_resident_bytes
from ganforge.version import __version__


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return the machine and the versions."""
    return {
        "versions": {"ganforge": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": {
            "type": device.type,
            "name": name_device(device),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
    }


def measure_recipe(players: Players, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Time a recipe and the machine in turns, and compute the share of the machine that a step uses.

    Returns ``cases``, ``ceilings``, ``work`` and ``memory`` for JSON; times in seconds, rates per second.
    """
    device, kinds = players.engine.device, players.kinds()
    counted = [count_step(players, kind) for kind in kinds]
    loop = LoopCase(players)
    steps = {f"step {kind.name} {kind.index}": step_case(players, kind) for kind in kinds}
    cases: dict[str, Case] = {
        **steps,
        "loop": loop,
        "data": data_case(players),
        "sample": sample_case(players),
        **machine_cases(device),
    }
    try:
        cases["export"] = export_case(players)
    except GanforgeError as error:
        say(f"the exported generator is not measured: {error.message}")
    samples = measure_cases(cases, seconds, players.engine.finish)

    timings = {name: Timing.of(each) for name, each in samples.items()}
    by_kind, shares = [timings[name] for name in steps], [kind.share for kind in kinds]
    step = weighted_mean(by_kind, shares)
    around = loop.correct(samples["loop"], kinds, by_kind)
    batch = players.config.training.batch
    tree: dict[str, Any] = {
        "step": {
            **_rate(step, players.step_images),
            "kinds": [
                {"penalties": list(kind.penalties), "share": kind.share, **_rate(each, players.step_images)}
                for kind, each in zip(kinds, by_kind, strict=True)
            ],
        },
        "loop": {**_rate(around, players.step_images), "share_of_step": step.median / around.median},
        "data": _rate(timings["data"], batch),
        "sample": _rate(timings["sample"], batch),
        "export": _rate(timings["export"], batch) if "export" in timings else None,
    }
    backend = backend_of(device)
    rates = {
        "float32": ("flops_per_second", 2 * backend.edge**3),
        "bfloat16": ("flops_per_second", 2 * backend.edge**3),
        "copy": ("bytes_per_second", 2 * backend.copied_bytes),
    }
    ceilings = {
        name: {**timings[name].tree(), unit: work / timings[name].median} for name, (unit, work) in rates.items()
    }
    flops, size = (
        sum(share * getattr(each, name) for each, share in zip(counted, shares, strict=True))
        for name in ("flops", "bytes")
    )
    floor = flops / ceilings[players.engine.plan.precision]["flops_per_second"]
    return {
        "cases": tree,
        "ceilings": ceilings,
        "work": {
            "flops": flops,
            "floor_seconds": floor,
            "share_of_ceiling": floor / step.median,
            "unfused_bytes": size,
            "unfused_copy_seconds": size / ceilings["copy"]["bytes_per_second"],
        },
        "memory": {
            "step_peak_bytes": max(each.peak_bytes for each in counted),
            "process_peak_bytes": peak_resident_bytes(),
        },
    }


def _rate(timing: Timing, images: int) -> dict[str, Any]:
    return {**timing.tree(), "images": images, "images_per_second": images / timing.median}
