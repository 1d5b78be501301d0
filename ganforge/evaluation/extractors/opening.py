"""Feature extractors by name or file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ganforge.config.sources import parse_part
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.extractor import Extractor
from ganforge.core.atomic_files import read_bytes, write_bytes
from ganforge.core.distributed import Workers
from ganforge.core.source_code import code_digest
from ganforge.data.store import PackedData
from ganforge.evaluation.classifier import cached_classifier, kept_as
from ganforge.evaluation.reporter import SILENT, Progress, Reporter
from ganforge.plugins.registry import Registry

_FILES = {".safetensors": "classifier", ".pt": "torchscript", ".pth": "torchscript"}


def open_extractor(
    text: str,
    spec: DataSpec,
    registry: Registry,
    *,
    data: Callable[[], PackedData],
    cache: Path,
    inception_weights: Path | None = None,
    device: torch.device | None = None,
    reporter: Reporter = SILENT,
) -> Extractor:
    """Open an extractor for images; ``classifier`` without weights is trained on the data and cached.

    Args:
        text: Registered name, with options as in ``torchscript:weights=FILE,pixels=unit``; or file: classifier
            (``.safetensors``) or TorchScript network (``.pt``).
        spec: Specification of the images.
        registry: Registry of plugins.
        data: Opens the real images, which only ``classifier`` needs.
        cache: Cache folder.
        inception_weights: Weights of ``inception``.
        device: Device on which a classifier is trained; None for the CPU.
        reporter: Progress and messages.
    """
    if not spec.is_image:
        held = "vectors" if len(spec.shape) == 1 else "signals"
        raise OptionError(
            f"{data().name} holds {held}, and --extractor {text} takes images", "use --modes, if modes are known"
        )
    kind = _FILES.get(Path(text).suffix)
    if kind is not None and ":" not in text:
        name, given = kind, {"weights": text}
    else:
        ((name, given),) = parse_part(text, "extractor", "--extractor")["extractor"].items()
    if name == "inception" and inception_weights is not None:
        given = {"weights": str(inception_weights), **given}
    if name == "classifier" and not given.get("weights"):
        given["weights"] = str(_find_classifier(data(), cache / "classifiers", device, reporter))
    extractor: Extractor = registry.build("extractor", name, given, spec)
    options = {key: str(value) for key, value in registry.check("extractor", name, given).items() if key != "weights"}
    extractor.origin = {"name": name, "options": options, "code": code_digest(type(extractor))}
    return extractor


def share_classifier(
    data: PackedData, folder: Path, workers: Workers, *, device: torch.device, progress: Progress
) -> None:
    """Train or find the classifier of some data in the main process, and write the same file on each machine."""
    path = kept_as(data, folder)
    content = workers.on_main(lambda: read_bytes(_find_classifier(data, folder, device, Reporter(progress))))
    with workers.main_first():
        if not (path.exists() and read_bytes(path) == content):
            write_bytes(path, content)


def _find_classifier(data: PackedData, folder: Path, device: torch.device | None, reporter: Reporter) -> Path:
    """Return the file of the classifier of some data, trained if missing."""
    with reporter.progress("training a classifier") as show:
        classifier, origin = cached_classifier(data, folder, device=device, progress=show)
    reporter.log(f"{origin}; {classifier.describe_accuracy()}")
    return kept_as(data, folder)
