"""Text and tables of ``ganforge bench``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.table import Column, Table


def describe_report(report: dict[str, Any], plan: str) -> str:
    """Return what was measured, on which data and machine.

    Args:
        report: What `run_benchmark` returns.
        plan: The execution plan in words.
    """
    settled, data, device = report["config"], report["data"], report["device"]
    shape = "x".join(map(str, data["shape"]))
    machine = f"{device['name']}, {device['cores']} cores, torch {report['versions']['torch']}"
    if "serving" in report:
        threads, versions = device["threads"], report["serving"]["versions"]
        parts = [f"ONNX Runtime {versions['onnxruntime']}"] if versions["onnxruntime"] else []
        parts += [versions["compiler"]] if versions["compiler"] else []
        return (
            f"generator of {settled['recipe']} ({shape})\non cpu: {threads} thread{'s' if threads > 1 else ''}\n"
            f"{', '.join([machine, *parts])}"
        )
    grown = f", at full resolution as after {report['begin_images']} images" if report["begin_images"] else ""
    steps = f", {report['d_steps']} discriminator steps" if report["d_steps"] > 1 else ""
    return (
        f"{settled['recipe']}, loss {settled['loss']['name']}, on {data['name']} ({shape}), "
        f"batch {report['batch']}{steps}{grown}\non {device['type']}: {plan}\n{machine}"
    )


def _times(case: dict[str, Any]) -> list[str]:
    return [f"{1000 * case[key]:.2f}" for key in ("median_seconds", "min_seconds", "max_seconds")]


def _case_table(report: dict[str, Any]) -> Table:
    table = Table("case", "images/s", "median ms", "min", "max", "n", "", box=None)

    def add(name: str, case: dict[str, Any] | None, note: str = "") -> None:
        if case is None:
            table.add_row(name, "-", "-", "-", "-", "-", "cannot be exported")
        else:
            table.add_row(name, f"{case['images_per_second']:,.0f}", *_times(case), str(case["samples"]), note)

    cases = report["cases"]
    kinds = cases["step"]["kinds"]
    add("step", cases["step"], "mean of these" if len(kinds) > 1 else ", ".join(kinds[0]["penalties"]))
    for kind in kinds if len(kinds) > 1 else []:
        name = f"  with {', '.join(kind['penalties'])}" if kind["penalties"] else "  plain"
        add(name, kind, f"{100 * kind['share']:.4g} % of steps")
    add("loop", cases["loop"], f"{100 * cases['loop']['share_of_step']:.1f} % of the step alone; no ticks")
    for name, note in (("data", "dataloader"), ("sample", "EMA generator"), ("export", "TorchScript")):
        add(name, cases[name], note)
    return table


def _ceiling_table(report: dict[str, Any]) -> Table:
    """Return a table of the machine's peak rates."""
    table = Table("machine", "rate", "median ms", "min", "max", "n", box=None)
    for name, case in report["ceilings"].items():
        is_copy = name == "copy"
        rate = (
            f"{case['bytes_per_second'] / 1e9:,.1f} GB/s"
            if is_copy
            else f"{case['flops_per_second'] / 1e9:,.0f} GFLOP/s"
        )
        title = "copy" if is_copy else f"matrix multiplication, {name}"
        table.add_row(title, rate, *_times(case), str(case["samples"]))
    return table


def _work_table(report: dict[str, Any]) -> Table:
    """Return a table of the operations, bytes and memory of a step."""
    work, memory = report["work"], report["memory"]
    table = Table("a step", "", "", box=None)
    table.add_row("operations", f"{work['flops'] / 1e9:,.2f} GFLOP", f"at least {1000 * work['floor_seconds']:.2f} ms")
    table.add_row("share of peak", f"{100 * work['share_of_ceiling']:.1f} %", "in the plan's precision")
    table.add_row(
        "bytes moved",
        f"{work['unfused_bytes'] / 1e9:,.3f} GB",
        f"at most: {1000 * work['unfused_copy_seconds']:.2f} ms of copying, without fusion and caches",
    )
    table.add_row("memory", f"{memory['step_peak_bytes'] / 2**20:,.0f} MiB", "peak of all tensors, eager")
    table.add_row("", f"{memory['process_peak_bytes'] / 2**20:,.0f} MiB", "peak of this process")
    return table


def _compare_table(report: dict[str, Any]) -> Table:
    variant = Column("variant", overflow="fold")
    table = Table(variant, "images/s", "relative time", "min", "max", "n", "plan", box=None)
    for row in report["compare"]:
        ratios = [f"{row[key]:.3f}" for key in ("ratio", "min_ratio", "max_ratio")]
        table.add_row(row["variant"], f"{row['images_per_second']:,.0f}", *ratios, str(row["rounds"]), row["plan"])
    return table


def _fit_table(report: dict[str, Any]) -> Table:
    """Return a table of the largest batch by resolution."""
    caption = (
        f"extrapolated to {report['free_bytes'] / 2**30:.1f} GiB of free memory; other resolutions are unsupported by "
        "the networks or too slow to measure"
    )
    table = Table(
        *("examples", "largest batch", "MiB each", "MiB fixed", "measured with"),
        box=None,
        caption=caption,
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


def _serving_table(report: dict[str, Any]) -> Table:
    """Return a table of inference times by batch and file; ratios are relative to the network's time."""
    table = Table("file", "images/s", "median ms", "min", "max", "n", "ratio", box=None)
    rows = report["serving"]["rows"]
    for batch in dict.fromkeys(row["batch"] for row in rows):
        table.add_row(f"batch {batch}")
        for row in (row for row in rows if row["batch"] == batch):
            name = f" {row['format']} {row['precision']}{', C++' if row['language'] == 'C++' else ''}"
            speed = f"{row['images_per_second']:,.0f}"
            table.add_row(name, speed, *_times(row), str(row["samples"]), f"{row['ratio']:.3f}")
    return table


TABLES: dict[str, Callable[[dict[str, Any]], Table]] = {
    "cases": _case_table,
    "ceilings": _ceiling_table,
    "work": _work_table,
    "compare": _compare_table,
    "fit": _fit_table,
    "serving": _serving_table,
}
"""Tables by the part of a report that they show."""
