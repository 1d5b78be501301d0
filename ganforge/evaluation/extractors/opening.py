"""From the word a user gives to an extractor."""

from __future__ import annotations

from pathlib import Path

import torch

from ganforge.config.sources import parse_part
from ganforge.contract.errors import OptionError
from ganforge.contract.extractor import Extractor
from ganforge.data.store import PackedData
from ganforge.evaluation.classifier import cached_classifier, kept_as
from ganforge.evaluation.results.narration import Progress, Say, no_progress
from ganforge.plugins.registry import Registry

DEFAULT = "inception"

_FILES = {".safetensors": "classifier", ".pt": "torchscript", ".pth": "torchscript"}
"""Extractors that are named by a file."""


def open_extractor(
    text: str,
    data: PackedData,
    registry: Registry,
    *,
    cache: Path,
    inception_weights: Path | None = None,
    device: torch.device | None = None,
    progress: Progress = no_progress,
    say: Say = lambda text: None,
) -> Extractor:
    """An extractor for images like those of the data.

    Args:
        text: A registered name, with options as in ``torchscript:weights=FILE,pixels=unit``; or a file: a classifier
            (``.safetensors``) or a TorchScript network (``.pt``).
        data: Real images. ``classifier`` without weights is trained on them, and kept in the cache.
        registry: Where names are looked up.
        cache: Where classifiers are kept, in ``classifiers``.
        inception_weights: A file for ``inception``; others pass it by.
        device: Where a classifier is trained; None for the CPU.
        progress: Shows how far that is.
        say: Told where the classifier comes from.

    Raises:
        OptionError: There is no such extractor or option, or it has no use for such images.
        CheckpointError: Weights are absent, damaged or another network's.
        DataError: The data are too few to train a classifier on.
    """
    if not data.spec.is_image:
        raise OptionError(
            f"{data.name} holds vectors, and --extractor {text} takes images", "take --modes, where modes are known"
        )
    kind = _FILES.get(Path(text).suffix)
    if kind is not None and ":" not in text:
        name, given = kind, {"weights": text}
    else:
        ((name, given),) = parse_part(text, "extractor", "--extractor")["extractor"].items()
    if name == "inception" and inception_weights is not None:
        given = {"weights": str(inception_weights), **given}
    if name == "classifier" and not given.get("weights"):
        with progress("training a classifier") as show:
            classifier, origin = cached_classifier(data, cache / "classifiers", device=device, progress=show)
        say(f"{origin}; it is right on {classifier.accuracy:.1%} of {classifier.num_held_out} held-out images")
        given["weights"] = str(kept_as(data, cache / "classifiers"))
    extractor: Extractor = registry.build("extractor", name, given, data.spec)
    return extractor
