"""What the commands that read attributes in generated images share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ganforge.evaluation.subjects.runs import TrainedRun
    from ganforge.explore.attributes import Read

ClassifierOption = Annotated[
    Path | None,
    typer.Option(
        "--classifier",
        metavar="FILE",
        help="Reads attributes. If left out, one is trained and cached.",
        show_default=False,
    ),
]


def declared_attributes(run: TrainedRun) -> tuple[str, ...]:
    """Names of the attributes that a run's data declare; empty if they declare none."""
    from ganforge.evaluation.classes import attribute_names

    return attribute_names(run.dataset, run.data.spec.num_classes)


def open_reader(run: TrainedRun, file: Path | None) -> tuple[Read, dict[str, Any]]:
    """What tells the attributes of a run's images, and what it must be quoted with.

    Args:
        run: Its data declare attributes.
        file: Of a classifier; None for that of the data.
    """
    from ganforge.evaluation.classes import attribute_bits, open_for_classes
    from ganforge.evaluation.reporter import TERMINAL

    num_attributes = len(declared_attributes(run))
    judge = open_for_classes(run, file, TERMINAL)
    return lambda images: attribute_bits(judge.predict(images), num_attributes), judge.describe()
