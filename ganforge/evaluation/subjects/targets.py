"""From what a user names to what is evaluated, and the data that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganforge.config.schema import resolve
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.data.pack import open_data
from ganforge.data.store import PackedData
from ganforge.evaluation.subjects.exported import open_exported
from ganforge.evaluation.subjects.runs import TrainedRun, open_run, open_training_data
from ganforge.evaluation.subjects.subject import GeneratorSubject, ImagesSubject, Subject
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import digest_tensors, load_generator, read_spec, read_tensors
from ganforge.runs.folder import RunFolder

_EXPORTED = (".pt", ".onnx")
"""Endings of exported files."""

_IMAGES = (".zip", ".npy")
"""Endings of files that hold images."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Target:
    """Something that a user named.

    Attributes:
        subject: What draws its images.
        data: What these are compared with.
        holdout: Share of the data that was held out from its training.
        run: The run that it is; None for what is none, or is compared with other data than its own.
    """

    subject: Subject
    data: PackedData
    holdout: float
    run: TrainedRun | None


def open_target(
    text: str | None, out: Path, *, data: str | None, raw: bool, device: torch.device, registry: Registry
) -> Target:
    """What a user named.

    Args:
        text: A run by its folder, name or number; a ``generator.safetensors``; an exported ``.pt``, whose code is run,
            or ``.onnx``; or a folder or zip of images. None for the newest run.
        out: The folder of all runs.
        data: What to compare with, as `open_data` takes it; None for what the run was trained on, which an exported
            file has too if it lies in the run's folder ``export``.
        raw: Whether a run's generator is taken as it was trained, not averaged.
        device: Where a generator computes.
        registry: Where names are looked up.

    Raises:
        OptionError: There is no such thing, it cannot be evaluated, or it was trained on nothing that is known.
        CheckpointError: Weights are damaged, or the run's data changed.
        DataError: The data cannot be read.
    """
    path = _find(text, out)
    if path is None or path.suffix == ".safetensors":
        weights = path or RunFolder.find(text, out).find_generator()
        return _open_generator(weights, data, raw, device, registry)
    if raw:
        raise OptionError(f"--raw: {path} is no run, and only runs keep weights as they were trained", "leave it out")
    if path.suffix in _EXPORTED or (path.is_file() and path.suffix.lower() not in _IMAGES):
        return _open_exported(path, data, device, registry)
    if data is None:
        raise OptionError(f"{path} are images, and nothing says which real ones to compare them with", "add --data SET")
    images = open_data(str(path), registry=registry)
    subject = ImagesSubject(images, path.resolve().parent, name=str(path))
    return Target(subject=subject, data=_open_like(data, images.spec, registry), holdout=0.0, run=None)


def _find(text: str | None, out: Path) -> Path | None:
    """A file or folder that is no run; None for a run."""
    if text is None:
        return None
    path = Path(text)
    if path.suffix in (".safetensors", *_EXPORTED):
        return path
    try:
        RunFolder.find(text, out)
    except OptionError:
        if path.exists():
            return path
        raise
    return None


def _open_generator(weights: Path, data: str | None, raw: bool, device: torch.device, registry: Registry) -> Target:
    generator, card = load_generator(weights, registry)
    folder = RunFolder(weights.parent)
    if raw:
        card = _load_raw(folder, generator)
    generator.to(device)
    subject = GeneratorSubject(
        generator, card, weights.parent, name=str(weights.parent if weights == folder.generator else weights), raw=raw
    )
    holdout = resolve(registry, folder.read_config()).training.holdout if folder.config.is_file() else 0.0
    if data is None:
        run = open_run(weights, generator, card, registry)
        return Target(subject=subject, data=run.data, holdout=holdout, run=run)
    others = _open_like(data, read_spec(card), registry)
    is_own = others.fingerprint == subject.about["trained_on"]
    return Target(subject=subject, data=others, holdout=holdout if is_own else 0.0, run=None)


def _open_exported(path: Path, data: str | None, device: torch.device, registry: Registry) -> Target:
    subject = open_exported(path, device)
    home = RunFolder(subject.home.parent)
    lies_in_run = subject.home.name == "export" and home.config.is_file()
    config = resolve(registry, home.read_config()) if lies_in_run else None
    if data is not None:
        others = _open_like(data, DataSpec(subject.shape), registry)
    elif config is not None:
        others = open_training_data(config, registry)
    else:
        raise OptionError(f"{path} lies in no run's folder export/, so its data are not known", "add --data SET")
    is_own = others.fingerprint == subject.about["trained_on"]
    if data is None and not is_own:
        raise OptionError(f"{path} was trained on other data than {home.path} has now", "add --data SET")
    holdout = config.training.holdout if config is not None and is_own else 0.0
    return Target(subject=subject, data=others, holdout=holdout, run=None)


def _load_raw(folder: RunFolder, generator: Generator) -> dict[str, Any]:
    """Give a generator the weights that were trained, of the newest checkpoint, and return their card."""
    paths = folder.checkpoint_paths()
    if not paths:
        raise OptionError(f"--raw: {folder.path} holds no checkpoint", "leave it out for the averaged generator")
    tensors, card = read_tensors(paths[-1])
    state = {name.removeprefix("generator/"): each for name, each in tensors.items() if name.startswith("generator/")}
    generator.load_state_dict(state)
    return {**card["generator"], "images": card["images"], "digest": digest_tensors(state)}


def _open_like(source: str, spec: DataSpec, registry: Registry) -> PackedData:
    """Data brought to the size of images that they are compared with."""
    if not spec.is_image:
        raise OptionError("--data: vectors are compared with the run's own data alone", "leave it out")
    height, width = spec.shape[1:]
    return open_data(source, resolution=height if height == width else (height, width), registry=registry)
