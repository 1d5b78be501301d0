"""What ``ganforge bench --export`` prints, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from ganforge.contract.errors import OptionError

SERVING = {"device": "cpu", "engine": "eager", "precision": "float32", "layout": "contiguous", "recompute": False}
"""How the network itself is computed, so that no plan has to be measured."""


def refuse_beside_export(flags: Mapping[str, object], device: str | None) -> None:
    """Refuse what contradicts ``--export``.

    Args:
        flags: What the user gave by flags that it excludes.
        device: What the user gave for ``--device``.

    Raises:
        OptionError: One of them is given, or a device other than the CPU.
    """
    for name, value in flags.items():
        if value:
            raise OptionError(
                f"--export and {name} exclude each other", "it times batches and precisions of its own; leave one out"
            )
    if device not in (None, "auto", "cpu"):
        raise OptionError(f"--device {device}: --export times files on the CPU", "use --device cpu, or leave it out")


def describe_serving(report: dict[str, Any]) -> str:
    """What was measured and on what, in words."""
    data, device, versions = report["data"], report["device"], report["serving"]["versions"]
    threads = device["threads"]
    parts = [f"torch {report['versions']['torch']}"]
    parts += [f"ONNX Runtime {versions['onnxruntime']}"] if versions["onnxruntime"] else []
    parts += [versions["compiler"]] if versions["compiler"] else []
    return (
        f"generator of {report['config']['recipe']} ({'x'.join(map(str, data['shape']))})\n"
        f"on cpu: {threads} thread{'s' if threads > 1 else ''}\n"
        f"{device['name']}, {device['cores']} cores, {', '.join(parts)}"
    )


def serving_table(report: dict[str, Any]) -> Table:
    """A call of the network and of each file, by batch; ratios are of the time of the network."""
    table = Table("file", "images/s", "median ms", "min", "max", "n", "ratio", box=None)
    rows = report["serving"]["rows"]
    for batch in dict.fromkeys(row["batch"] for row in rows):
        table.add_row(f"batch {batch}")
        for row in rows:
            if row["batch"] != batch:
                continue
            name = f" {row['format']} {row['precision']}{', C++' if row['language'] == 'C++' else ''}"
            times = [f"{1000 * row[key]:.2f}" for key in ("median_seconds", "min_seconds", "max_seconds")]
            table.add_row(name, f"{row['images_per_second']:,.0f}", *times, str(row["samples"]), f"{row['ratio']:.3f}")
    return table
