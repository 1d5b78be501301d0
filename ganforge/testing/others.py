"""Checks of recipes, exporters, loggers and callbacks."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch

from ganforge.config.schema import NO_PART, resolve
from ganforge.contract.callback import Callback
from ganforge.contract.errors import GanforgeError
from ganforge.contract.exporter import Exporter, ExportReport
from ganforge.contract.logger import Logger
from ganforge.contract.networks import Generator
from ganforge.contract.parts import Recipe, Situation
from ganforge.core.images import png_bytes
from ganforge.plugins.registry import Registry
from ganforge.testing.networks import SmallGenerator
from ganforge.testing.requirements import require, require_options


def check_recipe(recipe: Recipe, registry: Registry | None = None) -> None:
    """Check a recipe: descriptions, and validity of its settings; parts are looked up in `registry` or in plugins."""
    for name in ("summary", "source"):
        text = getattr(recipe, name)
        require(isinstance(text, str) and bool(text.strip()), f"{name} is {text!r}: describe it in a line")
    require("\n" not in recipe.summary, "summary must be one line")
    alone = recipe.settings.get("training", {}).get("d_steps") == 0
    for section in ("generator",) if alone else ("generator", "discriminator", "loss"):
        named = "name" in recipe.settings.get(section, {})
        require(named, f"settings name no {section}: a recipe must be complete")
    require("source" not in recipe.settings.get("data", {}), "settings name data: leave them to the user")
    # Without a name, settings stand on those of the default recipe.
    none = {section: {"name": NO_PART} for section in ("discriminator", "loss")} if alone else {}
    unknown = recipe.variants.keys() - set(get_args(Situation))
    require(not unknown, f"variants name no situation: {', '.join(sorted(unknown))}")
    for variants in ([], *([each] for each in recipe.variants.values()), list(recipe.variants.values())):
        try:
            config = resolve(registry or Registry.installed(), recipe.settings, none, *variants)
        except GanforgeError as error:
            raise AssertionError(f"its settings are invalid: {error}") from error
        tree = config.tree()
        try:
            again = resolve(registry or Registry.installed(), json.loads(json.dumps(tree)))
        except GanforgeError as error:
            raise AssertionError(f"its settings cannot be saved as JSON: {error}") from error
        require(again == config, "its settings change when they are saved as JSON")


def check_exporter(
    factory: Callable[..., Exporter], folder: Path, *, generator: Generator | None = None, **options: Any
) -> Path:
    """Check an exporter: report, unchanged network, and overwriting of an existing file; return the path.

    It writes into an empty folder. The default generator is a small one from 4 numbers to 3.
    """
    require_options(factory, options)
    exporter = factory(**options)
    suffix = getattr(exporter, "suffix", None)
    require(isinstance(suffix, str) and bool(suffix), "suffix is not set: it is the extension of its files")
    torch.manual_seed(0)
    network = generator or SmallGenerator().eval()
    with torch.no_grad():
        shape = network(torch.zeros(1, network.z_dim)).shape[1:]
    card = {
        "generator": {"name": type(network).__name__, "options": {}},
        "data": {"shape": list(shape), "class_names": []},
    }
    before, said = copy.deepcopy(network.state_dict()), copy.deepcopy(card)
    path = folder / f"generator{suffix}"
    for _ in range(2):
        try:
            report = exporter.export(network, card, path)
        except GanforgeError as error:
            raise AssertionError(str(error)) from error
        require(isinstance(report, ExportReport), f"export returned {type(report).__name__}; return an ExportReport")
        require(report.path == path and path.exists(), f"the report says {report.path}; expected {path}")
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        size = sum(each.stat().st_size for each in files)
        require(report.num_bytes == size, f"the report says {report.num_bytes} bytes; there are {size}")
        require(report.num_examples > 0, "the report compared nothing: verify the file against the generator")
        require(math.isfinite(report.worst_difference), f"worst_difference is {report.worst_difference}")
    after = network.state_dict()
    require(
        all(torch.equal(after[name], value) for name, value in before.items()) and not network.training,
        "export changed the network: work on a copy",
    )
    require(card == said, "export changed the card: work on a copy")
    return path


def check_logger(factory: Callable[..., Logger], folder: Path, **options: Any) -> None:
    """Check a logger: all its methods, and a resumed run. `folder` is empty and represents the run directory."""
    require_options(factory, options)
    picture = folder / "000000064.png"
    picture.write_bytes(png_bytes(torch.zeros(3, 8, 8, dtype=torch.uint8)))
    config = {"recipe": "dcgan", "generator": {"name": "dcgan", "width": 64}, "training": {"images": None}}
    for resumed, images in enumerate((0, 64)):
        logger = factory(**options)
        given = copy.deepcopy(config)
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("start", (folder, given, images)),
            ("log", (images + 32, {"generator/loss": 0.5, "D(x)": 1.0, "images_per_second": 100.0})),
            ("log", (images + 64, {"generator/loss": float("nan")})),
            ("log", (images + 64, {})),
            ("log_picture", (images + 64, picture)),
            ("log_text", (images + 64, "warning: mode collapse\nin two lines")),
            ("finish", ()),
        ]
        for method, arguments in calls:
            try:
                found = getattr(logger, method)(*arguments)
            except Exception as error:
                words = "in a resumed run, " if resumed else ""
                raise AssertionError(f"{method}: {words}{type(error).__name__}: {error}") from error
            require(found is None, f"{method} returned {found!r}; expected None")
        require(given == config, "start changed the configuration: work on a copy")


def check_callback(factory: Callable[..., Callback], folder: Path, **options: Any) -> None:
    """Check a callback: all its methods, and a resumed run. `folder` is empty and represents the run directory."""
    require_options(factory, options)
    path = folder / "000000064.safetensors"
    path.touch()
    (folder / "config.json").write_text("{}")
    config = {"recipe": "dcgan", "generator": {"name": "dcgan"}, "training": {"images": None, "eval_every": 64}}
    for resumed, images in enumerate((0, 64)):
        callback = factory(**options)
        given = copy.deepcopy(config)
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("start", (folder, given, images)),
            ("tick", (images + 32, {"generator/loss": 0.5, "D(x)": 1.0, "images_per_second": 100.0})),
            ("score", (images + 64, {"fd": 2.0})),
            ("checkpoint", (images + 64, path)),
            ("finish", ()),
        ]
        for method, arguments in calls:
            try:
                found = getattr(callback, method)(*arguments)
            except Exception as error:
                words = "in a resumed run, " if resumed else ""
                raise AssertionError(f"{method}: {words}{type(error).__name__}: {error}") from error
            allowed = found is None or (isinstance(found, str) and method not in ("start", "finish"))
            require(allowed, f"{method} returned {found!r}; return a reason as text, or None")
        require(given == config, "start changed the configuration: work on a copy")
