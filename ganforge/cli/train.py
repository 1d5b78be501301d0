"""``ganforge train``: train a generator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ganforge.cli.common import global_options, open_registry, share_run
from ganforge.cli.completion import complete_run
from ganforge.cli.options import (
    COMPUTING,
    LENGTH,
    NETWORK,
    RUN,
    Arch,
    Augment,
    Batch,
    Callback,
    Config,
    Engine,
    Gpus,
    Loss,
    NoMarking,
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
    part_option,
    switch,
)
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, say
from ganforge.core.device import choose_device, find_accelerator


def train(
    context: typer.Context,
    run: Annotated[
        str | None, argument("RUN", "Run to resume, with --resume. Default: the newest.", complete_run)
    ] = None,
    arch: Arch = None,
    loss: Loss = None,
    reg: Reg = None,
    augment: Augment = None,
    generator: Annotated[
        str | None, part_option("--generator", "generator", "Generator. Default: the recipe's.")
    ] = None,
    discriminator: Annotated[
        str | None, part_option("--discriminator", "discriminator", "Discriminator. Default: the recipe's.")
    ] = None,
    setting: Setting = None,
    source: Source = None,
    resolution: Resolution = None,
    skip_bad: SkipBad = False,
    images: Annotated[str | None, option("--images", "Train on N images, e.g. 500k.", "N", LENGTH)] = None,
    minutes: Annotated[
        str | None, option("--minutes", "Train for N minutes in total, including resumed runs.", "N", LENGTH)
    ] = None,
    batch: Batch = None,
    d_steps: Annotated[
        str | None, option("--d-steps", "Discriminator steps per generator step. Default: the recipe's.", "K", LENGTH)
    ] = None,
    seed: Annotated[str | None, option("--seed", "Seed of all random numbers. Default: 0.", "N", RUN)] = None,
    device: TrainingDevice = None,
    engine: Engine = None,
    precision: Precision = None,
    accumulate: Annotated[
        str | None, option("--accumulate", "Split each batch into K microbatches to save memory.", "K", COMPUTING)
    ] = None,
    eval_every: Annotated[
        str | None,
        option("--eval-every", "Evaluate every N images, e.g. 50k, and keep the best generator.", "N", RUN),
    ] = None,
    metrics: Annotated[
        str | None,
        option("--metrics", "Metric: fd by a classifier of the data, fid by Inception.", "fd|fid", RUN),
    ] = None,
    on_divergence: Annotated[
        str | None,
        option(
            "--on-divergence",
            "When gradients become non-finite: roll back to a checkpoint, or stop.",
            "rollback|stop",
            RUN,
        ),
    ] = None,
    gpus: Gpus = None,
    init_from: Annotated[
        str | None,
        option(
            "--init-from", "Start from the networks and settings of another run, where layers agree.", "RUN|FILE", RUN
        ),
    ] = None,
    freeze: Annotated[
        str | None,
        option("--freeze", "Keep the first N layers of a network, e.g. discriminator:3.", "NETWORK:N[,...]", NETWORK),
    ] = None,
    log: Annotated[
        list[str] | None,
        part_option("--log", "logger", "Log to a dashboard, e.g. tensorboard. Repeatable.", "NAME[:option=value]", RUN),
    ] = None,
    callback: Callback = None,
    config: Config = None,
    resume: Annotated[bool, switch("--resume", "Resume a run from its last checkpoint.", RUN)] = False,
    preview: Annotated[
        bool, switch("--preview", "Serve the newest samples to a browser on this machine.", RUN)
    ] = False,
    dry_run: Annotated[bool, switch("--dry-run", "Validate and print the configuration, then stop.", RUN)] = False,
    no_marking: NoMarking = False,
    name: Annotated[str | None, option("--name", "Name of the run directory, after its number.", "NAME", RUN)] = None,
    out: Out = Path("runs"),
) -> None:
    """Train a GAN. Without options, list what can be trained from this folder.

    For instance: ganforge train --data ./photos --resolution 64 --minutes 60. To resume the newest run:
    ganforge train --resume --images 1M.
    """
    flags = config_flags(context)
    if resume:
        _check_resumable(flags, [reg, augment, setting, callback, config, name])
    elif run is not None:
        hint = f"to resume a run: --resume {run}; for data: --data {run}"
        if "source" in flags.get("data", {}):
            hint = "quote a path that contains spaces"
        raise OptionError(f"unexpected argument '{run}'", hint)

    from ganforge.config.schema import resolve
    from ganforge.config.sources import load_layers
    from ganforge.core.distributed import is_launched, join_workers
    from ganforge.session.transfer import inherit

    registry, said = open_registry(), list[str]()
    workers = join_workers(None if flags.get("training", {}).get("device") == "cpu" else find_accelerator())
    if resume:
        folder, kept = share_run(workers, run, out, flags.pop("data", {}).get("source"))
        layers = [kept, _reset_plan(flags), *load_layers(flags=flags, loggers=log or [])]
        say(f"resuming {folder.path}")
    else:
        layers = load_layers(config, flags, reg or [], setting or [], augment or [], log or [], callback or [])
        layers = inherit(layers, registry, out, said.append, workers)
    settled = resolve(registry, *layers)
    torch_device = choose_device(settled.training.device)
    if gpus is not None and gpus > 1 and not is_launched() and not dry_run:
        from ganforge.session.launcher import launch

        advice = f"resume with: ganforge train --resume --gpus {gpus}"
        raise typer.Exit(launch(gpus, torch_device, global_options.arguments, advice))

    from ganforge.cli.outcome import print_outcome
    from ganforge.session.terminal import Terminal
    from ganforge.session.trainer import Trainer

    for line in said:
        say(line)
    trainer = Trainer(settled, registry, torch_device, Terminal(preview), workers, () if resume else layers)
    if dry_run:
        if not resume:
            trainer.initialize(out)
        print_result(json.dumps(trainer.config.tree(), indent=2))
        return
    finished = trainer.resume(folder) if resume else trainer.start(out, name)
    if workers.is_main:  # the run directory may not be visible to others
        print_outcome(finished, trainer.config.training)
    if finished.outcome.stopped:
        raise typer.Exit(128 + finished.outcome.stopped)


def _reset_plan(flags: dict[str, Any]) -> dict[str, Any]:
    """Return settings that let autotune measure a new execution plan, if the device is given anew."""
    if "device" not in flags.get("training", {}):
        return {}
    return {"training": {"engine": "auto", "precision": "auto", "layout": "auto", "threads": None}}


def _check_resumable(flags: dict[str, Any], others: list[Any]) -> None:
    """Refuse options that a resumed run cannot change."""
    allowed = {("data", "source"), ("training", "images"), ("training", "minutes"), ("training", "device")}
    given = {(section, key) for section, values in flags.items() for key in (values if section != "recipe" else [""])}
    if given - allowed or any(others):
        raise OptionError(
            "--resume keeps the configuration of the run", "only --images, --minutes, --device and --log may change"
        )
