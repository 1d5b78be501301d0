"""Classes and attributes of generated images, predicted by a classifier."""

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
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.subjects.runs import TrainedRun

CLASS_SAMPLES = 5_000
"""Default number of samples of labeled images."""

_ROWS = 20
"""Maximum number of listed classes; beyond it only the worst are listed."""


def open_classifier(
    file: Path | None,
    data: Callable[[], PackedData],
    *,
    images: str,
    shape: tuple[int, ...],
    class_names: Sequence[str],
    device: torch.device,
    reporter: Reporter = SILENT,
) -> Classifier:
    """Load a classifier from a file; without one, that of the data from the cache, trained if missing.

    `images` names the classified images in errors; their shape is ``(C, H, W)``.
    """
    if file is None:
        examples = data()
        with reporter.progress("training a classifier") as show:
            classifier, origin = cached_classifier(
                examples, cache_folder() / "classifiers", device=device, progress=show
            )
        reporter.log(origin)
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


def open_for_classes(run: TrainedRun, file: Path | None, reporter: Reporter = SILENT) -> Classifier:
    """Return a classifier for the images of a run; see `open_classifier`."""
    return open_classifier(
        file,
        lambda: run.data,
        images=f"the images of {run.data.name}",
        shape=run.data.spec.shape,
        class_names=run.data.class_names,
        device=run.device,
        reporter=reporter,
    )


def read_classes(classifier: Classifier, batches: Iterable[Tensor], count: int, reporter: Reporter = SILENT) -> Tensor:
    """Predict the classes, int64 ``[count]``, of generated images ``[n, C, H, W]`` in [-1, 1]."""
    found = torch.empty(count, dtype=torch.int64)
    done = 0
    with reporter.progress("images") as show:
        for batch in batches:
            found[done : done + len(batch)] = classifier.predict(to_uint8(batch))
            done += len(batch)
            show(done, count)
    return found


def attribute_names(dataset: Any, num_classes: int) -> tuple[str, ...]:
    """Return the attributes that a data set declares by `HasAttributes`; empty without any."""
    names = tuple(dataset.attribute_names) if isinstance(dataset, HasAttributes) else ()
    if names and num_classes != 2 ** len(names):
        raise PluginError(
            f"{type(dataset).__name__} declares {len(names)} attributes, but has {num_classes} classes",
            f"it must have {2 ** len(names)} classes, with attribute i as bit i of the label",
        )
    return names


def attribute_bits(labels: Tensor, num_attributes: int) -> Tensor:
    """Return attributes, bool ``[N, A]``, of labels ``[N]``; attribute i is bit i."""
    return (labels[:, None] >> torch.arange(num_attributes)) % 2 == 1


def describe_classifier(classifier: Classifier) -> str:
    """Return a line with the accuracy of a classifier."""
    return f"classifier    {classifier.accuracy:.2%} right on held-out images"


def list_worst(rows: Sequence[tuple[str, float, tuple[float, ...]]]) -> list[str]:
    """Format rows of name, badness and shares in [0, 1], one line each; of many, only the worst."""
    shown, lines = rows, []
    if len(rows) > _ROWS:
        shown = sorted(rows, key=lambda row: -row[1])[:_ROWS]
        lines.append(f"  the worst {_ROWS} of {len(rows)}:")
    width = max((len(name) for name, _, _ in shown), default=0)
    return lines + [f"  {name:{width}}  " + "  ".join(f"{each:7.2%}" for each in shares) for name, _, shares in shown]
