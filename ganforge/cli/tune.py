"""``ganforge tune``: search for the settings with the best score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganforge.cli.common import open_registry
from ganforge.cli.options import (
    LENGTH,
    NETWORK,
    RUN,
    Arch,
    Augment,
    Batch,
    Config,
    Engine,
    Loss,
    Out,
    Precision,
    Reg,
    Resolution,
    Setting,
    SkipBad,
    Source,
    TrainingDevice,
    argument,
    config_flags,
    option,
    switch,
)
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, say
from ganforge.core.device import choose_device

if TYPE_CHECKING:
    from ganforge.session.tuning import Result, Search


def tune(
    context: typer.Context,
    folder: Annotated[Path | None, argument("FOLDER", "Folder of a search to resume, with --resume.")] = None,
    vary: Annotated[
        list[str] | None,
        option(
            "--vary",
            "Values to try; repeatable. Default: weights of gradient penalties and learning rates.",
            "PART.OPTION[,...]=VALUE,...",
            NETWORK,
        ),
    ] = None,
    arch: Arch = None,
    loss: Loss = None,
    reg: Reg = None,
    augment: Augment = None,
    setting: Setting = None,
    config: Config = None,
    source: Source = None,
    resolution: Resolution = None,
    skip_bad: SkipBad = False,
    batch: Batch = None,
    images: Annotated[
        str | None, option("--images", "Images of the runs that are trained longest.", "N", LENGTH)
    ] = None,
    minutes: Annotated[
        str | None, option("--minutes", "Minutes of all runs together. Default: 60.", "N", LENGTH)
    ] = None,
    metrics: Annotated[str | None, option("--metrics", "Metric, lower is better. Default: fd.", "fd|fid", RUN)] = None,
    seed: Annotated[str | None, option("--seed", "Seed of all random numbers. Default: 0.", "N", RUN)] = None,
    device: TrainingDevice = None,
    engine: Engine = None,
    precision: Precision = None,
    resume: Annotated[bool, switch("--resume", "Resume a search.", RUN)] = False,
    out: Out = Path("runs"),
) -> None:
    """Search for the best settings: train all combinations briefly, the best quarter longer, and so on.

    For instance: ganforge tune --data mnist --minutes 60. To try values of your own: ganforge tune --data mnist
    --vary regularizers.r1.weight,regularizers.r2.weight=0.1,1,10 --vary generator.width=32,64.
    """
    flags = config_flags(context)
    others = [flags, vary, reg, augment, setting, config]
    if resume and any(others):
        raise OptionError("--resume keeps the settings of the search", "give its folder and nothing else")
    if resume != (folder is not None):
        raise OptionError("a search is resumed by --resume FOLDER", "such as --resume runs/tune-00000")

    from ganforge.config.schema import resolve
    from ganforge.config.sources import load_layers, merge
    from ganforge.data.pack import open_configured
    from ganforge.session.situations import fit
    from ganforge.session.terminal import Terminal
    from ganforge.session.tuning import Search, check_plan, default_axes, make_plan, parse_axis

    registry = open_registry()
    if folder is not None:
        search = Search(folder, registry, Terminal())
    else:
        layers = load_layers(config, flags, reg or [], setting or [], augment or [])
        given = merge(*layers).get("training", {})
        # The config.json of a run without scores says so; a search needs both.
        scores = {name: each for name, each in (("metrics", "fd"), ("eval_every", "1M")) if not given.get(name)}
        layers = [{"training": {"eval_samples": 2000, "minutes": 60}}, *layers, {"training": scores}]
        values = [parse_axis(each) for each in vary or []]
        first = resolve(registry, *layers)
        check_plan(make_plan(first, values or default_axes(first)), registry)
        torch_device = choose_device(first.training.device)
        resolved, _, chosen = fit(registry, layers, torch_device, lambda config: open_configured(config, registry))
        for line in chosen:
            say(line)
        search = Search.create(out, make_plan(resolved, values or default_axes(resolved)), registry, Terminal())
    results, stopped = search.run()
    if stopped:
        say(f"stopped; resume with: ganforge tune --resume {search.folder}")
        raise typer.Exit(128 + stopped)
    _print_results(search, results)


def _print_results(search: Search, results: list[Result]) -> None:
    from ganforge.session.tuning import describe

    metric = search.plan.config["training"]["metrics"][0]
    best: dict[int, Result] = {}
    for each in results:
        best.setdefault(each.trial, each)
    say(f"{'round':>5} {metric:>10} {'images':>10}  settings")
    for each in best.values():
        settings = describe(search.plan.trials[each.trial])
        say(f"{each.round + 1:>5} {each.score:>10.4g} {each.images:>10,}  {settings}")
    winner = results[0]
    say(
        f"best:  {describe(search.plan.trials[winner.trial])}\nnext:  ganforge train --resume {winner.run} --minutes 60"
    )
    print_result(str(winner.run))
