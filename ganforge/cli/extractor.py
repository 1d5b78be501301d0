"""``ganforge extractor``: train what turns images into features."""

from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import DeviceOption, JsonOption, open_registry, read_number
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, progress_bar, say
from ganforge.core.device import choose_device

app = typer.Typer(no_args_is_help=True, help="Train what turns images into features.")


@app.callback()
def group() -> None:
    """Train what turns images into features; `ganforge plugins list` shows which extractors there are."""


@app.command()
def train(
    source: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="PATH|NAME",
            help="Labelled images: a folder, zip or packed folder; or mnist ...",
            show_default=False,
        ),
    ],
    resolution: Annotated[
        int | None,
        typer.Option(
            "--resolution",
            metavar="N",
            help="Pixels along an edge. If left out, the size that all images share, else 64.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        str | None,
        typer.Option("--epochs", metavar="N", help="Passes over the images; 3 if left out.", show_default=False),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(
            "--seed",
            metavar="N",
            help="Of first weights and of the order of images; 0 if left out.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE.safetensors",
            help="A file that does not exist yet. If left out, the cache, where metrics by a classifier find it.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a small classifier, by whose features `ganforge eval --extractor` compares images like these.

    The cache holds one classifier for each data set, that of 3 epochs and of seed 0; any other needs --to. If it is
    there already it is not trained again.
    """
    given = {
        "epochs": read_number(epochs, int, "--epochs", least=1) if epochs is not None else None,
        "seed": read_number(seed, int, "--seed", least=0) if seed is not None else None,
    }
    settings: dict[str, int] = {name: number for name, number in given.items() if number is not None}
    if to is None and settings:
        raise OptionError(f"--{next(iter(settings))}: the cache holds no such classifier", "name a file by --to FILE")
    if to is not None:
        if to.suffix != ".safetensors":
            raise OptionError(
                f"--to {to}: a classifier is a .safetensors file", f"--to {to.with_suffix('.safetensors')}"
            )
        if to.exists():
            raise OptionError(f"--to {to}: it exists already", "remove it, or name another")
    where = choose_device(device)

    from ganforge.core.cache import cache_folder
    from ganforge.data import open_data
    from ganforge.evaluation.classifier import cached_classifier, kept_as, train_classifier

    with progress_bar(f"opening {source}") as show:
        data = open_data(source, resolution=resolution, registry=open_registry(), progress=show)
    if data.note:
        say(data.note)
    cache = cache_folder() / "classifiers"
    path = to or kept_as(data, cache)
    _require_writable(path.parent)
    with progress_bar("training a classifier") as show:
        if to is None:
            classifier, origin = cached_classifier(data, cache, device=where, progress=show)
            say(origin)
        else:
            classifier = train_classifier(data, device=where, progress=show, **settings)
            classifier.save(to)
    command = f"ganforge eval --fid --extractor {shlex.quote(str(to or 'classifier'))}"
    if as_json:
        found = {
            "path": str(path),
            "accuracy": classifier.accuracy,
            "num_held_out": classifier.num_held_out,
            "data": classifier.data_name,
            "data_fingerprint": classifier.data_fingerprint,
            "class_names": list(classifier.class_names),
            "epochs": classifier.epochs,
            "seed": classifier.seed,
            "command": command,
        }
        print_result(json.dumps(found, indent=2))
        return
    print_result(f"{path}: right on {classifier.accuracy:.1%} of {classifier.num_held_out} held-out images")
    print_result(command)


def _require_writable(folder: Path) -> None:
    """Say before minutes of training that its end could not be written."""
    from ganforge.core.atomic_files import write_error

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise write_error(folder, error) from error
