"""``ganforge extractor``: train feature extractors."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

from ganforge.cli.common import CommandGroup, open_registry
from ganforge.cli.options import DataResolution, Device, Json, number, option
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, progress_bar, say
from ganforge.core.device import choose_device

app = CommandGroup(help="Train feature extractors.")


@app.callback()
def group() -> None:
    """Train feature extractors; ganforge plugins list shows the installed ones."""


@app.command()
def train(
    source: Annotated[
        str, option("--data", "Labeled images: folder, zip, packed folder, or data set, e.g. mnist.", "PATH|NAME")
    ],
    resolution: DataResolution = None,
    epochs: Annotated[int | None, number("--epochs", "Epochs. Default: 3.", least=1)] = None,
    seed: Annotated[int | None, number("--seed", "Seed of initial weights and order. Default: 0.", least=0)] = None,
    to: Annotated[
        Path | None,
        option("--to", "File that does not exist yet. Default: the cache, where metrics find it.", "FILE.safetensors"),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a small classifier whose features `ganforge eval --extractor` compares.

    The cache holds one classifier per data set, with 3 epochs and seed 0; other values require --to. A cached
    classifier is not trained again.
    """
    given = {"epochs": epochs, "seed": seed}
    settings = {name: value for name, value in given.items() if value is not None}
    if to is None and settings:
        raise OptionError(f"--{next(iter(settings))}: the cache holds no such classifier", "name a file: --to FILE")
    if to is not None and to.suffix != ".safetensors":
        raise OptionError(f"--to {to}: a classifier is a .safetensors file", f"--to {to.with_suffix('.safetensors')}")
    if to is not None and to.exists():
        raise OptionError(f"--to {to}: already exists", "remove it, or name another file")
    torch_device = choose_device(device)

    from ganforge.core.cache import cache_folder, check_writable
    from ganforge.data import open_data
    from ganforge.evaluation.classifier import cached_classifier, kept_as, train_classifier

    with progress_bar(f"opening {source}") as show:
        data = open_data(source, resolution=resolution, registry=open_registry(), progress=show)
    if data.note:
        say(data.note)
    cache = cache_folder() / "classifiers"
    path = to or kept_as(data, cache)
    check_writable(path.parent)
    with progress_bar("training a classifier") as show:
        if to is None:
            classifier, origin = cached_classifier(data, cache, device=torch_device, progress=show)
            say(origin)
        else:
            classifier = train_classifier(data, device=torch_device, progress=show, **settings)
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
    print_result(f"{path}: {classifier.describe_accuracy()}")
    print_result(command)
