"""``ganforge bench``: training speed of a recipe, beside the machine's peak rates."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ganforge.cli.common import open_registry
from ganforge.cli.options import (
    DATA,
    Arch,
    Batch,
    Config,
    Engine,
    Json,
    Loss,
    Precision,
    Reg,
    Resolution,
    Setting,
    TrainingDevice,
    config_flags,
    given_options,
    number,
    option,
    switch,
)
from ganforge.core.console import print_result

BENCH = "Benchmark"


def bench(
    context: typer.Context,
    arch: Arch = None,
    loss: Loss = None,
    reg: Reg = None,
    setting: Setting = None,
    config: Config = None,
    source: Annotated[
        str | None,
        option("--data", "As for train. Default: noise of the shape of the recipe's data.", "PATH|NAME", DATA),
    ] = None,
    resolution: Resolution = None,
    batch: Batch = None,
    device: TrainingDevice = None,
    engine: Engine = None,
    precision: Precision = None,
    seconds: Annotated[
        float, number("--seconds", "Approximate time per case in seconds.", panel=BENCH, kind=float, least=0)
    ] = 2,
    compare: Annotated[
        list[str] | None,
        option(
            "--compare",
            "Measure only variants, in turns, relative to the first: settings joined by commas. Give two or more.",
            "PART.OPTION=VALUE,...",
            BENCH,
        ),
    ] = None,
    fit: Annotated[
        bool, switch("--fit", "Only find the largest batch that fits into memory, by resolution.", BENCH)
    ] = False,
    serve: Annotated[
        bool, switch("--export", "Only measure inference of each exported file, in Python and C++, on the CPU.", BENCH)
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure how fast a recipe trains on this machine. Only the execution plan is cached, as train does.

    For instance: ganforge bench --arch stylegan --resolution 64. To compare: ganforge bench
    --compare training.precision=float32 --compare training.precision=bfloat16,training.layout=channels_last.
    """
    flags = config_flags(context)

    from ganforge.benchmark.compare import check_variants, split_variant
    from ganforge.benchmark.report import SERVING, BenchmarkRequest, check_export_flags, run_benchmark
    from ganforge.config.sources import load_layers

    if serve:
        check_export_flags(given_options(context))
        flags["training"] = SERVING
    variants = {text: split_variant(text) for text in compare or []}
    if compare:
        check_variants(compare)
    registry = open_registry()
    layers = load_layers(config, flags, reg or [], setting or [])
    report, plan = run_benchmark(layers, BenchmarkRequest(seconds, variants, fit, serve), registry)
    if as_json:
        print_result(json.dumps(report, indent=2))
        return

    from rich.console import Console

    from ganforge.cli.bench_tables import TABLES, describe_report

    print_result(describe_report(report, plan))
    console = Console(highlight=False)
    for key, table in TABLES.items():
        if key in report:
            console.print()
            console.print(table(report))
