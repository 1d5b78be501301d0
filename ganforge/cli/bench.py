"""``ganforge bench``: how quickly a recipe trains here, and what of the machine that uses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from ganforge.cli.common import JsonOption, open_registry, read_number
from ganforge.cli.recipe import (
    DATA,
    ArchOption,
    BatchOption,
    ComputingDeviceOption,
    ConfigOption,
    EngineOption,
    LossOption,
    PrecisionOption,
    RegOption,
    ResolutionOption,
    SettingOption,
)
from ganforge.cli.serving import SERVING, describe_serving, refuse_beside_export, serving_table
from ganforge.core.console import print_result, progress_bar, say
from ganforge.core.device import choose_device

if TYPE_CHECKING:
    import torch

    from ganforge.config.schema import RunConfig
    from ganforge.data.store import PackedData
    from ganforge.plugins.registry import Registry

BENCH = "What of it"


def bench(
    arch: ArchOption = None,
    loss: LossOption = None,
    reg: RegOption = None,
    setting: SettingOption = None,
    config: ConfigOption = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="PATH|NAME",
            help="As for train. If neither this nor a file names any: noise of the form of the recipe's own.",
            rich_help_panel=DATA,
        ),
    ] = None,
    resolution: ResolutionOption = None,
    batch: BatchOption = None,
    device: ComputingDeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    seconds: Annotated[
        str, typer.Option("--seconds", metavar="N", help="For each case, about.", rich_help_panel=BENCH)
    ] = "2",
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            metavar="PART.OPTION=VALUE,...",
            help="A variant, as settings with commas between. Give two or more: only they are measured, in turns, and "
            "compared with the first.",
            rich_help_panel=BENCH,
        ),
    ] = None,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit", help="Only find the largest batch that fits into memory, by resolution.", rich_help_panel=BENCH
        ),
    ] = False,
    serve: Annotated[
        bool,
        typer.Option(
            "--export",
            help="Only time the generator as each exported file, in Python and C++, on the CPU.",
            rich_help_panel=BENCH,
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Time what a recipe does here, beside what the machine can do. Nothing is kept but the plan, as train does.

    For instance: ganforge bench --arch stylegan --resolution 64. To compare: ganforge bench
    --compare training.precision=float32 --compare training.precision=bfloat16,training.layout=channels_last.
    """
    budget = read_number(seconds, float, "--seconds", least=0)
    flags = _given(
        {
            "recipe": arch,
            "data": {"source": source, "resolution": resolution},
            "loss": {"name": loss},
            "training": {"batch": batch, "device": device, "engine": engine, "precision": precision},
        }
    )
    if serve:
        refuse_beside_export(
            {"--compare": compare, "--fit": fit, "--batch": batch, "--engine": engine, "--precision": precision}, device
        )
        flags["training"] = SERVING

    from ganforge.benchmark.compare import check_variants, split_variant
    from ganforge.config.sources import load_layers

    variants = {text: split_variant(text) for text in compare or []}
    if compare:
        check_variants(compare)
    registry = open_registry()
    layers = load_layers(config, flags, reg or [], setting or [])
    settled, data = _settle(registry, layers)
    torch_device = choose_device(settled.training.device)

    import torch

    from ganforge.benchmark.fit import fit_batches
    from ganforge.benchmark.inference import measure_serving
    from ganforge.benchmark.measure import describe_machine, measure_recipe
    from ganforge.benchmark.training_setup import open_players
    from ganforge.core.memory import free_memory

    free, threads = free_memory(torch_device), torch.get_num_threads()
    try:
        players = open_players(settled, registry, data, torch_device, say)
        settled = players.config
        report = {
            "command": " ".join(["ganforge", *sys.argv[1:]]),
            **describe_machine(torch_device),
            "plan": vars(players.engine.plan),
            "batch": settled.training.batch,
            "d_steps": settled.training.d_steps,
            "begin_images": players.begin,
            "data": {"name": data.name, "shape": list(data.spec.shape), "examples": len(data)},
            "config": settled.tree(),
        }
        if serve:
            report["serving"] = measure_serving(players, registry, budget, say)
            words = describe_serving(report)
        else:
            words = describe(report, "each variant by its own plan" if variants else players.engine.plan.describe())
        if variants:
            report["compare"] = _compare(registry, layers, variants, torch_device, budget)
        if fit:
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
                for each in fit_batches(settled, registry, data.spec, torch_device, free)
            ]
        if not variants and not fit and not serve:
            report |= measure_recipe(players, budget, say)
    finally:
        torch.set_num_threads(threads)
    if as_json:
        print_result(json.dumps(report, indent=2))
        return
    print_result(words)
    console = Console(highlight=False)
    for key, table in TABLES.items():
        if key in report:
            console.print()
            console.print(table(report))


def _given(tree: dict[str, Any]) -> dict[str, Any]:
    """A tree without what was not given."""
    pruned = {key: _given(value) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in pruned.items() if value not in (None, {})}


def _settle(registry: Registry, layers: list[dict[str, Any]]) -> tuple[RunConfig, PackedData]:
    """The configuration, and the data that it names if they are named by the user; else noise of that form."""
    from ganforge.benchmark.training_setup import draw_noise, read_spec
    from ganforge.config.schema import resolve
    from ganforge.config.sources import merge
    from ganforge.data.pack import open_configured

    settled = resolve(registry, *layers)
    if "source" not in merge(*layers).get("data", {}):
        return settled, draw_noise(read_spec(settled, registry), settled.training.batch)
    with progress_bar("preparing data") as progress:
        data = open_configured(settled.data, registry, progress=progress)
    if data.note:
        say(data.note)
    return settled, data


def _compare(
    registry: Registry,
    layers: list[dict[str, Any]],
    variants: dict[str, list[str]],
    device: torch.device,
    seconds: float,
) -> list[dict[str, Any]]:
    from ganforge.benchmark.compare import compare_players
    from ganforge.benchmark.training_setup import open_players
    from ganforge.config.sources import load_layers

    opened = {}
    for name, settings in variants.items():
        settled, data = _settle(registry, [*layers, *load_layers(settings=settings)])
        opened[name] = open_players(settled, registry, data, device, say)
    return compare_players(opened, seconds)


def describe(report: dict[str, Any], plan: str) -> str:
    """What is measured and how, in words."""
    settled, data, device = report["config"], report["data"], report["device"]
    shape = "x".join(map(str, data["shape"]))
    grown = f", fully grown as after {report['begin_images']} images" if report["begin_images"] else ""
    steps = f", {report['d_steps']} steps of the discriminator" if report["d_steps"] > 1 else ""
    return (
        f"{settled['recipe']}, loss {settled['loss']['name']}, on {data['name']} ({shape}), "
        f"batch {report['batch']}{steps}{grown}\n"
        f"on {device['type']}: {plan}\n"
        f"{device['name']}, {device['cores']} cores, torch {report['versions']['torch']}"
    )


def case_table(report: dict[str, Any]) -> Table:
    """Times of all cases."""
    table = Table("case", "images/s", "median ms", "min", "max", "n", "", box=None)

    def add(name: str, case: dict[str, Any] | None, note: str = "") -> None:
        if case is None:
            table.add_row(name, "-", "-", "-", "-", "-", "cannot be exported")
            return
        times = [f"{1000 * case[key]:.2f}" for key in ("median_seconds", "min_seconds", "max_seconds")]
        table.add_row(name, f"{case['images_per_second']:,.0f}", *times, str(case["samples"]), note)

    cases = report["cases"]
    kinds = cases["step"]["kinds"]
    add("step", cases["step"], "mean of these" if len(kinds) > 1 else ", ".join(kinds[0]["penalties"]))
    for kind in kinds if len(kinds) > 1 else []:
        name = f"  with {', '.join(kind['penalties'])}" if kind["penalties"] else "  plain"
        add(name, kind, f"{100 * kind['share']:.4g} % of steps")
    add("loop", cases["loop"], f"{100 * cases['loop']['share_of_step']:.1f} % of the bare step; no ticks")
    for name, note in (("data", "batches read"), ("sample", "averaged generator"), ("export", "TorchScript")):
        add(name, cases[name], note)
    return table


def ceiling_table(report: dict[str, Any]) -> Table:
    """What the machine does, and what of it a step uses."""
    table = Table("machine", "rate", "median ms", "min", "max", "n", box=None)
    for name, case in report["ceilings"].items():
        times = [f"{1000 * case[key]:.2f}" for key in ("median_seconds", "min_seconds", "max_seconds")]
        rate = (
            f"{case['bytes_per_second'] / 1e9:,.1f} GB/s"
            if name == "copy"
            else f"{case['flops_per_second'] / 1e9:,.0f} GFLOP/s"
        )
        table.add_row("copy" if name == "copy" else f"product of matrices, {name}", rate, *times, str(case["samples"]))
    return table


def work_table(report: dict[str, Any]) -> Table:
    """What a step asks for, and its memory."""
    work, memory = report["work"], report["memory"]
    table = Table("a step", "", "", box=None)
    table.add_row("operations", f"{work['flops'] / 1e9:,.2f} GFLOP", f"at least {1000 * work['floor_seconds']:.2f} ms")
    table.add_row("share of the ceiling", f"{100 * work['share_of_ceiling']:.1f} %", "in the plan's precision")
    table.add_row(
        "bytes moved",
        f"{work['unfused_bytes'] / 1e9:,.3f} GB",
        f"at most: {1000 * work['unfused_copy_seconds']:.2f} ms of copying, if nothing is fused or cached",
    )
    table.add_row("memory", f"{memory['step_peak_bytes'] / 2**20:,.0f} MiB", "peak of all tensors, taken eagerly")
    table.add_row("", f"{memory['process_peak_bytes'] / 2**20:,.0f} MiB", "peak of this process")
    return table


def compare_table(report: dict[str, Any]) -> Table:
    """Variants beside each other."""
    variant = Column("variant", overflow="fold")
    table = Table(variant, "images/s", "time of an image", "min", "max", "n", "plan", box=None)
    for row in report["compare"]:
        ratios = [f"{row[key]:.3f}" for key in ("ratio", "min_ratio", "max_ratio")]
        table.add_row(row["variant"], f"{row['images_per_second']:,.0f}", *ratios, str(row["rounds"]), row["plan"])
    return table


def fit_table(report: dict[str, Any]) -> Table:
    """The largest batch by resolution."""
    table = Table(
        "examples",
        "largest batch",
        "MiB each",
        "MiB fixed",
        "measured with",
        box=None,
        caption=f"extrapolated to {report['free_bytes'] / 2**30:.1f} GiB of free memory; other resolutions are refused "
        "by the networks or too slow to be measured here",
        caption_justify="left",
    )
    for row in report["fit"]:
        table.add_row(
            "x".join(map(str, row["shape"])),
            f"{'' if row['straight'] else 'at most '}{row['largest_batch']:,}",
            f"{row['bytes_per_example'] / 2**20:.2f}",
            f"{row['fixed_bytes'] / 2**20:.1f}",
            ", ".join(str(each["batch"]) for each in row["measured"]),
        )
    return table


TABLES: dict[str, Callable[[dict[str, Any]], Table]] = {
    "cases": case_table,
    "ceilings": ceiling_table,
    "work": work_table,
    "compare": compare_table,
    "fit": fit_table,
    "serving": serving_table,
}
"""By the part of a report that they show."""
