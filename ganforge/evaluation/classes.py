"""What generated images show: a classifier for them, the classes that it reads, and the attributes of a class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError, PluginError
from ganforge.core.cache import cache_folder
from ganforge.core.images import to_uint8
from ganforge.data.store import PackedData
from ganforge.evaluation.classifier import Classifier, cached_classifier, load_classifier
from ganforge.evaluation.metrics.mode_coverage import HasAttributes
from ganforge.evaluation.results.narration import Progress, Say
from ganforge.evaluation.subjects.runs import TrainedRun

CLASS_SAMPLES = 5_000
"""Samples of labelled images, unless the user says otherwise."""

_ROWS = 20
"""Classes that are listed in words; beyond them the worst alone are."""


def open_classifier(
    file: Path | None,
    data: Callable[[], PackedData],
    *,
    images: str,
    shape: tuple[int, ...],
    class_names: Sequence[str],
    device: torch.device,
    progress: Progress,
    say: Say,
) -> Classifier:
    """The classifier of a file; without one, that of the data from the cache, trained if it is not in it.

    Args:
        file: What `Classifier.save` wrote, or None.
        data: Gives the labelled images to train on; called only if there is no file.
        images: What the classifier is to be shown, in the plural, for an error.
        shape: ``(C, H, W)`` of that.
        class_names: Its classes.
        device: Where the network goes.
        progress: Shows how far the training is.
        say: Told where the classifier comes from.

    Raises:
        CheckpointError: The file is missing or damaged, or its classifier is for other images.
        DataError: The data are too few to train on.
    """
    if file is None:
        examples = data()
        with progress("training a classifier") as show:
            classifier, origin = cached_classifier(
                examples, cache_folder() / "classifiers", device=device, progress=show
            )
        say(origin)
        return classifier
    classifier = load_classifier(file, device=device)
    hint = "leave --classifier out to have one trained"
    if classifier.shape != tuple(shape):
        raise CheckpointError(f"{file}: takes images {list(classifier.shape)}, {images} are {list(shape)}", hint)
    known = classifier.class_names
    if len(known) != len(class_names):
        raise CheckpointError(f"{file}: knows {len(known)} classes, {images} have {len(class_names)}", hint)
    for index, (theirs, ours) in enumerate(zip(known, class_names, strict=True)):
        if theirs != ours:
            raise CheckpointError(f"{file}: its class {index} is '{theirs}', that of {images} is '{ours}'", hint)
    return classifier


def open_for_classes(run: TrainedRun, file: Path | None, progress: Progress, say: Say) -> Classifier:
    """A classifier for the images of a run, trained on the run's own data; see `open_classifier`."""
    return open_classifier(
        file,
        lambda: run.data,
        images=f"the images of {run.data.name}",
        shape=run.data.spec.shape,
        class_names=run.data.class_names,
        device=run.device,
        progress=progress,
        say=say,
    )


def read_classes(classifier: Classifier, batches: Iterable[Tensor], count: int, progress: Progress) -> Tensor:
    """Classes that a classifier reads in generated images.

    Args:
        classifier: Takes images of that shape.
        batches: Images ``[n, C, H, W]`` in [-1, 1], of `count` in all.
        count: Their number N.
        progress: Shows how far it is.

    Returns:
        int64 ``[N]`` on the CPU.
    """
    found = torch.empty(count, dtype=torch.int64)
    done = 0
    with progress("images") as show:
        for batch in batches:
            found[done : done + len(batch)] = classifier.predict(to_uint8(batch))
            done += len(batch)
            show(done, count)
    return found


def attribute_names(dataset: Any, num_classes: int) -> tuple[str, ...]:
    """The attributes that a data set declares by `HasAttributes`; empty if it declares none.

    Raises:
        PluginError: They are not those of so many classes.
    """
    names = tuple(dataset.attribute_names) if isinstance(dataset, HasAttributes) else ()
    if names and num_classes != 2 ** len(names):
        raise PluginError(
            f"{type(dataset).__name__} declares {len(names)} attributes, but has {num_classes} classes",
            f"the classes must be all {2 ** len(names)} combinations, with attribute i as bit i of the label",
        )
    return names


def attribute_bits(labels: Tensor, num_attributes: int) -> Tensor:
    """Which attributes are there, bool ``[N, A]``, from labels ``[N]`` that have attribute i as bit i."""
    return (labels[:, None] >> torch.arange(num_attributes)) % 2 == 1


def list_worst(rows: Sequence[tuple[str, float, tuple[float, ...]]]) -> list[str]:
    """Shares in words, a line each.

    Args:
        rows: Name, how bad it is, and the shares in [0, 1]; if there are many, only the worst are listed.
    """
    shown, lines = rows, []
    if len(rows) > _ROWS:
        shown = sorted(rows, key=lambda row: -row[1])[:_ROWS]
        lines.append(f"  the worst {_ROWS} of {len(rows)}:")
    width = max((len(name) for name, _, _ in shown), default=0)
    return lines + [f"  {name:{width}}  " + "  ".join(f"{each:7.2%}" for each in shares) for name, _, shares in shown]
