"""Settings of a new run that starts from the weights of another: those of the other run, where none are given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ganforge.config.resolution import read_resolution, size_of, write_resolution
from ganforge.config.sources import merge
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError
from ganforge.core.distributed import ALONE, Workers
from ganforge.layers.map_sizes import map_sizes
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_generator_card
from ganforge.runs.folder import RunFolder

SECTIONS = ("recipe", "generator", "discriminator", "loss", "networks", "regularizers", "optimizer")
"""Sections of the configuration that a new run takes over; augmentations depend on the data."""

TRAINING = ("batch", "d_steps", "ema_images")
"""Settings of ``training`` that belong to them."""


def find_initial_weights(text: str, out: Path) -> Path:
    """Return the file of ``--init-from``: the file itself, or the newest checkpoint of a run."""
    if Path(text).is_file():
        return Path(text)
    folder = RunFolder.find(text, out)
    return (folder.checkpoint_paths() or [folder.find_generator()])[-1]


def inherit(
    layers: Sequence[dict[str, Any]],
    registry: Registry,
    out: Path,
    say: Callable[[str], None],
    workers: Workers = ALONE,
) -> list[dict[str, Any]]:
    """Add the settings of the run of ``training.init_from`` to the layers of a configuration, and say which in a line.

    Networks, loss, penalties and rates are those of the other run, unless another recipe is given, and so is the
    resolution. At another one, ``width`` changes such that maps of equal size have as many channels.
    """
    given = merge(*layers)
    text = given.get("training", {}).get("init_from")
    if text is None:
        return list(layers)
    tree, shape = json.loads(workers.on_main(lambda: json.dumps(_read(find_initial_weights(str(text), out))).encode()))
    before: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    said = []
    if given.get("recipe", recipe := tree.get("recipe")) == recipe:
        own = {section: tree[section] for section in SECTIONS if section in tree}
        own["training"] = {name: value for name, value in tree.get("training", {}).items() if name in TRAINING}
        doublings = _count_doublings(tuple(shape), given.get("data", {}).get("resolution"))
        for section in own.keys() & {"generator", "discriminator"}:
            own[section] = _fit_options(own[section], 0.5**doublings)
        before.append(own)
        said.append(f"recipe {recipe}" if recipe else "its generator")
    if len(shape) == 3 and _takes_resolution(given.get("data", {}), registry):
        resolution = write_resolution((shape[1], shape[2]))
        after.append({"data": {"resolution": resolution}})
        said.append(f"--resolution {resolution}")
    if said:
        say(f"as {text}: {', '.join(said)}")
    return [*before, *layers, *after]


def _read(path: Path) -> tuple[dict[str, Any], list[int]]:
    """Return the configuration behind a file of weights, as far as it is known, and the shape of an example."""
    card = read_generator_card(path)
    generator = {"name": card["generator"]["name"], **card["generator"]["options"]}
    for folder in (path.parent, path.parent.parent):
        with suppress(CheckpointError):
            if (tree := RunFolder(folder).read_config()).get("generator") == generator:  # else it is of other software
                return tree, card["data"]["shape"]
    recipe = {"recipe": card["recipe"]} if card.get("recipe") else {}
    return {**recipe, "generator": generator}, card["data"]["shape"]


def _takes_resolution(data: Mapping[str, Any], registry: Registry) -> bool:
    """Return whether the data may have another resolution, and none is given."""
    source = data.get("source", "avatars")
    known = source not in registry.names("dataset") or "resolution" in registry.options("dataset", source)
    return data.get("resolution") is None and known


def _count_doublings(shape: tuple[int, ...], given: Any) -> int:
    """Return the number of doublings from the resolution of images to a given one; 0 if none is given."""
    resolution = read_resolution(given, "data.resolution")
    if resolution is None or len(shape) != 3:
        return 0
    try:
        before, after = (len(map_sizes(DataSpec(each))) for each in (shape, (shape[0], *size_of(resolution))))
    except ValueError:  # sizes that no convolutional network takes
        return 0
    return after - before


def _fit_options(options: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Multiply the width of a network whose channels double up to ``max_width``, and let it start at full size."""
    fitted = dict(options)
    if "max_width" in options and isinstance(options.get("width"), int):
        fitted["width"] = max(1, round(options["width"] * factor))
    return fitted | ({"growing": False} if "growing" in options else {})
