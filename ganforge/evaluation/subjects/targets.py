"""Targets: subjects by the names that users give, with the data to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganforge.config.resolution import write_resolution
from ganforge.config.stored import stored_data, stored_training
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.data.pack import open_configured, open_data
from ganforge.data.store import PackedData
from ganforge.evaluation.subjects.exported import open_exported
from ganforge.evaluation.subjects.runs import TrainedRun, open_run
from ganforge.evaluation.subjects.subject import GeneratorSubject, ImagesSubject, Subject
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import digest_tensors, load_generator, read_spec, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.runs.shipped import is_shipped, output_folder

_EXPORTED = (".pt", ".onnx")
_IMAGES = (".zip", ".npy")


@dataclass(frozen=True, eq=False, kw_only=True)
class Target:
    """Evaluated target: subject, real images with the share held out from training, and the run if these are its own
    data.
    """

    subject: Subject
    data: PackedData
    holdout: float
    run: TrainedRun | None


def open_target(
    text: str | None, out: Path, *, data: str | None, raw: bool, device: torch.device, registry: Registry
) -> Target:
    """Open a target.

    Args:
        text: Run (folder, name or number), ``generator.safetensors``, exported ``.pt`` (runs code) or ``.onnx``, or
            folder or zip of images. None for the newest run.
        out: Folder of all runs.
        data: Data to compare with, see `open_data`. None for the training data of the run; exported files in a run's
            ``export`` folder have them too.
        raw: Whether to evaluate the weights of the training instead of their EMA.
        device: Device of the generator.
        registry: Registry of plugins.
    """
    path = _find(text, out)
    if path is None or path.suffix == ".safetensors":
        weights = path or RunFolder.find(text, out).find_generator()
        return _open_generator(weights, out, data, raw, device, registry)
    if raw:
        raise OptionError(f"--raw: {path} is no run, and only runs have weights without EMA", "leave it out")
    if path.suffix in _EXPORTED or (path.is_file() and path.suffix.lower() not in _IMAGES):
        return _open_exported(path, data, device, registry)
    if data is None:
        raise OptionError(f"{path} holds images, which need real ones to compare with", "add --data SET")
    images = open_data(str(path), registry=registry)
    subject = ImagesSubject(images, path.resolve().parent, name=str(path))
    return Target(subject=subject, data=_open_like(data, images.spec, registry), holdout=0.0, run=None)


def _find(text: str | None, out: Path) -> Path | None:
    """Return the path of a file or folder that is no run; None for a run."""
    if text is None:
        return None
    path = Path(text)
    if path.suffix in (".safetensors", *_EXPORTED):
        return path
    try:
        run = RunFolder.find(text, out)
    except OptionError:
        if path.exists():
            return path
        raise
    is_named = path.exists() and is_shipped(run.path) and not is_shipped(path)  # images of the user come first
    return path if is_named else None


def _open_generator(
    weights: Path, out: Path, data: str | None, raw: bool, device: torch.device, registry: Registry
) -> Target:
    generator, card = load_generator(weights, registry)
    folder = RunFolder(weights.parent)
    if raw:
        card = _load_raw(folder, generator)
    generator.to(device)
    name, home = str(weights.parent if weights == folder.generator else weights), output_folder(folder.path, out)
    if is_shipped(folder.path):
        name = folder.path.name
        home.mkdir(parents=True, exist_ok=True)
    subject = GeneratorSubject(generator, card, home, name=name, raw=raw)
    holdout = stored_training(folder.read_config()).holdout if folder.config.is_file() else 0.0
    if data is None:
        run = open_run(weights, generator, card, registry)
        return Target(subject=subject, data=run.data, holdout=holdout, run=run)
    others = _open_like(data, read_spec(card), registry)
    is_own = others.fingerprint == subject.about["trained_on"]
    return Target(subject=subject, data=others, holdout=holdout if is_own else 0.0, run=None)


def _open_exported(path: Path, data: str | None, device: torch.device, registry: Registry) -> Target:
    subject = open_exported(path, device)
    home = RunFolder(subject.home.parent)
    is_in_run = subject.home.name == "export" and home.config.is_file()
    config = home.read_config() if is_in_run else None
    if data is not None:
        others = _open_like(data, DataSpec(subject.shape), registry)
    elif config is not None:
        others = open_configured(stored_data(registry, config), registry)
    else:
        raise OptionError(f"{path} is not in the folder export/ of a run, so its data are not known", "add --data SET")
    is_own = others.fingerprint == subject.about["trained_on"]
    if data is None and not is_own:
        raise OptionError(f"{path} was trained on other data than {home.path} has now", "add --data SET")
    holdout = stored_training(config).holdout if config is not None and is_own else 0.0
    return Target(subject=subject, data=others, holdout=holdout, run=None)


def _load_raw(folder: RunFolder, generator: Generator) -> dict[str, Any]:
    """Load the weights of the newest checkpoint, without EMA, and return their card."""
    paths = folder.checkpoint_paths()
    if not paths:
        raise OptionError(f"--raw: {folder.path} has no checkpoint", "leave it out for the EMA weights")
    tensors, card = read_tensors(paths[-1])
    state = {name.removeprefix("generator/"): each for name, each in tensors.items() if name.startswith("generator/")}
    generator.load_state_dict(state)
    return {**card["generator"], "images": card["images"], "digest": digest_tensors(state)}


def _open_like(source: str, spec: DataSpec, registry: Registry) -> PackedData:
    """Open data at the size of the compared images."""
    if not spec.is_image:
        raise OptionError("--data: vectors are compared only with the data of the run", "leave it out")
    height, width = spec.shape[1:]
    return open_data(source, resolution=write_resolution((height, width)), registry=registry)
