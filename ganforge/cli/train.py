"""``ganforge train``: from one line to a trained generator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import OutOption, global_options, open_registry
from ganforge.cli.completion import complete_data, complete_part, complete_run
from ganforge.cli.launch import launch
from ganforge.cli.recipe import (
    COMPUTING,
    DATA,
    NETWORK,
    ArchOption,
    AugmentOption,
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
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, say
from ganforge.core.device import choose_device

if TYPE_CHECKING:
    from ganforge.config.schema import TrainingConfig
    from ganforge.session.trainer import Finished

LENGTH, RUN = "How long", "The run"


def train(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="With --resume: which run. The newest if left out.",
            show_default=False,
            autocompletion=complete_run,
        ),
    ] = None,
    arch: ArchOption = None,
    loss: LossOption = None,
    reg: RegOption = None,
    augment: AugmentOption = None,
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator",
            metavar="NAME",
            help="Another generator.",
            rich_help_panel=NETWORK,
            autocompletion=complete_part("generator"),
        ),
    ] = None,
    discriminator: Annotated[
        str | None,
        typer.Option(
            "--discriminator",
            metavar="NAME",
            help="Another one.",
            rich_help_panel=NETWORK,
            autocompletion=complete_part("discriminator"),
        ),
    ] = None,
    setting: SettingOption = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="PATH|NAME",
            help="A folder, zip or .npy; or avatars, mnist ...",
            rich_help_panel=DATA,
            autocompletion=complete_data,
        ),
    ] = None,
    resolution: ResolutionOption = None,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="Leave out images that cannot be read, one in ten at most.", rich_help_panel=DATA
        ),
    ] = False,
    images: Annotated[
        str | None,
        typer.Option("--images", metavar="N", help="Stop after so many, such as 500k.", rich_help_panel=LENGTH),
    ] = None,
    minutes: Annotated[
        str | None,
        typer.Option(
            "--minutes", metavar="N", help="Stop after so long, all sittings together.", rich_help_panel=LENGTH
        ),
    ] = None,
    batch: BatchOption = None,
    d_steps: Annotated[
        str | None,
        typer.Option("--d-steps", metavar="K", help="Discriminator steps a generator step.", rich_help_panel=LENGTH),
    ] = None,
    seed: Annotated[
        str | None, typer.Option("--seed", metavar="N", help="All random numbers follow from it.", rich_help_panel=RUN)
    ] = None,
    device: ComputingDeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    accumulate: Annotated[
        str | None,
        typer.Option(
            "--accumulate", metavar="K", help="Batches in K parts, for less memory.", rich_help_panel=COMPUTING
        ),
    ] = None,
    eval_every: Annotated[
        str | None,
        typer.Option(
            "--eval-every",
            metavar="N",
            help="Score the generator every so many images, such as 50k, and keep the best.",
            rich_help_panel=RUN,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="fd|fid",
            help="By what: fd, in features of a classifier of the data; fid, in those of Inception.",
            rich_help_panel=RUN,
        ),
    ] = None,
    on_divergence: Annotated[
        str | None,
        typer.Option(
            "--on-divergence",
            metavar="rollback|stop",
            help="When gradients are finite no more: go back to a checkpoint, or stop.",
            rich_help_panel=RUN,
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            "--gpus",
            metavar="N",
            min=1,
            help="Share each batch out among N GPUs of this machine; with --device cpu, among N processes.",
            rich_help_panel=COMPUTING,
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            "--init-from",
            metavar="RUN|FILE",
            help="A new run that begins with the weights of another.",
            rich_help_panel=RUN,
        ),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            metavar="NAME[:option=value]",
            help="Tell a dashboard too, such as tensorboard. Repeatable.",
            rich_help_panel=RUN,
            autocompletion=complete_part("logger"),
        ),
    ] = None,
    config: ConfigOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run where it stopped.", rich_help_panel=RUN)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all, print the configuration, and stop.", rich_help_panel=RUN)
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the run's folder, behind its number.", rich_help_panel=RUN)
    ] = None,
    out: OutOption = Path("runs"),
) -> None:
    """Train a GAN. With nothing said, see what can be trained on from here.

    For instance: ganforge train --data ./photos --resolution 64 --minutes 60. To go on with the newest run:
    ganforge train --resume --images 1M.
    """
    from ganforge.config.sources import load_layers, nest

    given = {
        "recipe": arch,
        "data.source": source,
        "data.resolution": resolution,
        "data.skip_bad": "true" if skip_bad else None,
        "generator.name": generator,
        "discriminator.name": discriminator,
        "loss.name": loss,
        "training.images": images,
        "training.minutes": minutes,
        "training.batch": batch,
        "training.d_steps": d_steps,
        "training.seed": seed,
        "training.device": device,
        "training.engine": engine,
        "training.precision": precision,
        "training.accumulate": accumulate,
        "training.eval_every": eval_every,
        "training.metrics": metrics,
        "training.on_divergence": on_divergence,
        "training.init_from": init_from,
    }
    flags = nest({key: value for key, value in given.items() if value is not None})
    if resume:
        _refuse_with_resume(flags, [reg, augment, setting, config, name])
    elif run is not None:
        raise OptionError(
            f"unexpected argument '{run}'", f"to go on with a run: --resume {run}; data are given as --data {run}"
        )

    from ganforge.config.schema import resolve
    from ganforge.core.distributed import is_launched, join_workers
    from ganforge.runs.folder import RunFolder

    registry = open_registry()
    if resume:
        folder = RunFolder.find(run, out)
        folder.confirm_data(flags.pop("data", {}).get("source"))
        layers = [folder.read_config(), _forget_plan(flags), *load_layers(flags=flags, loggers=log or [])]
        say(f"going on with {folder.path}")
    else:
        layers = load_layers(config, flags, reg or [], setting or [], augment or [], log or [])
    settled = resolve(registry, *layers)
    torch_device = choose_device(settled.training.device)
    if gpus is not None and gpus > 1 and not is_launched() and not dry_run:
        then = f"go on with: ganforge train --resume --gpus {gpus}"
        raise typer.Exit(launch(gpus, torch_device, global_options.arguments, then))

    from ganforge.session.terminal import Terminal
    from ganforge.session.trainer import Trainer

    trainer = Trainer(settled, registry, torch_device, Terminal(), join_workers(torch_device.type == "cuda"))
    if settled.training.init_from is not None and not resume:
        trainer.begin_from(_find_weights(settled.training.init_from, out))
    if dry_run:
        print_result(json.dumps(trainer.config.tree(), indent=2))
        return
    _tell(trainer.resume(folder) if resume else trainer.start(out, name), trainer.config.training)


def _find_weights(text: str, out: Path) -> Path:
    """The file that ``--init-from`` means: a file, or the newest checkpoint of a run."""
    from ganforge.runs.folder import RunFolder

    if Path(text).is_file():
        return Path(text)
    folder = RunFolder.find(text, out)
    return (folder.checkpoint_paths() or [folder.find_generator()])[-1]


def _forget_plan(flags: dict[str, Any]) -> dict[str, Any]:
    """What lets a run that goes on elsewhere measure anew how its steps are computed."""
    if "device" not in flags.get("training", {}):
        return {}
    return {"training": {"engine": "auto", "precision": "auto", "layout": "auto", "threads": None}}


def _refuse_with_resume(flags: dict[str, Any], rest: list[Any]) -> None:
    """A run goes on as it was begun; only its budget, its device and its loggers may change."""
    others = {**flags, "training": {**flags.get("training", {})}, "data": {**flags.get("data", {})}}
    others["data"].pop("source", None)  # it must be what the run has; see `RunFolder.confirm_data`
    for allowed in ("images", "minutes", "device"):
        others["training"].pop(allowed, None)
    if any(others.values()) or any(rest):
        raise OptionError(
            "--resume goes on with a run as it was begun", "only --images, --minutes, --device and --log may change"
        )


def _tell(finished: Finished, training: TrainingConfig) -> None:
    """Say what came of a run and what could be done next; one that was stopped leaves by its signal."""
    from ganforge.runs.checkpoint import read_card, read_spec
    from ganforge.session.terminal import describe_scores
    from ganforge.training.budget import suggest_budget

    folder, outcome = finished.folder, finished.outcome
    say(f"{outcome.images} images in {outcome.seconds / 60:.1f} minutes")
    if finished.best and finished.last:
        say(describe_scores(finished.best, finished.last, folder.best_generator.name))
    if outcome.stopped:
        say(f"stopped by {outcome.stopped.name}; go on with: ganforge train --resume {folder.path}")
        raise typer.Exit(128 + outcome.stopped)
    picture = folder.sample_path(outcome.images)
    say(f"picture:    {picture}\nanimation:  {folder.animation}\nweights:    {folder.generator}")
    paired = read_spec(read_card(folder.generator)).source_shape
    say(
        f"next:       ganforge sample {'--source FOLDER' if paired else '--count 16'}\n"
        f"            ganforge train --resume {suggest_budget(training, outcome.images, outcome.seconds)}\n"
        "            ganforge report, explore, eval or export --torchscript"
    )
    print_result(str(folder.path))
