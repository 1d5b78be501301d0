"""One number about a generator with all that it must be quoted with: a row of ``evaluations.jsonl``."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Self, TypedDict

import msgspec
import torch

from ganforge.contract.errors import CheckpointError
from ganforge.core.atomic_files import append_line, read_text, remove_torn_line
from ganforge.core.json_schema import LONGEST_LINE, NonNegativeInt, convert, parse_json, to_json
from ganforge.evaluation.statistics import Interval
from ganforge.version import __version__

FILE = "evaluations.jsonl"
"""Where the rows of a run lie, in its folder."""

MOST_BYTES = 1 << 28
"""What such a file may have; a hundred thousand rows."""

Better = Literal["lower", "higher"]


class _Protocol(TypedDict, total=False):
    extractor: str | None
    weights_sha256: str | None
    protocol: str | None
    num_samples: NonNegativeInt | None
    num_references: NonNegativeInt | None
    data_fingerprint: str | None
    split: str | None
    truncation: float | None


class _Subject(TypedDict):
    kind: str
    name: str
    digest: str
    weights: NotRequired[str | None]
    images_seen: NotRequired[NonNegativeInt | None]


class _Circumstances(TypedDict):
    data: str


class _Share(TypedDict):
    name: str
    generated: Annotated[float, msgspec.Meta(ge=0, le=1)]
    data: Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Modes(TypedDict, total=False):
    classes: list[_Share]


class _ModesRow(TypedDict):
    """Details of a row of the metric ``modes`` that reports rely on."""

    details: _Modes


class _Row(TypedDict):
    """Fields of a row that others rely on; further ones are free."""

    details: dict[str, Any]
    protocol: _Protocol
    subject: _Subject
    circumstances: _Circumstances
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One number.

    Attributes:
        name: What it is called; a distance of features is called as it is for those of the published Inception.
        value: The number; None where it is not defined.
        interval: Of confidence; None where none is known. One without width becomes None: values that never differ, as
            those of constant images, do not tell how far off they are.
        better: Which way is better; None where neither is.
        parameters: What of its definition could be another: values are compared where they agree.
        details: Whatever else was found.
    """

    name: str
    value: float | None
    interval: Interval | None = None
    better: Better | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.interval is not None and self.interval.high - self.interval.low <= 1e-12 * abs(self.interval.value):
            object.__setattr__(self, "interval", None)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A number and how it came about.

    Attributes:
        metric: What it is quoted by, such as ``fid`` or ``fd_mnist-classifier``.
        value: The number; None where it is not defined.
        interval: Of confidence; None where none is known.
        better: Which way is better; None where neither is.
        details: Whatever else was found.
        protocol: What must be equal for two values to be compared.
        subject: What was evaluated: kind, name, digest of the weights, whether these are averaged, images seen.
        circumstances: What may differ between values that are compared: name of the data, seed, device, versions, date.
        notes: What forbids comparing the value with others, in sentences.
    """

    metric: str
    value: float | None
    interval: Interval | None = None
    better: Better | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Any]
    subject: Mapping[str, Any]
    circumstances: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Any) -> Self:
        """What `to_json` gave.

        Raises:
            ValueError: Something is missing, or of the wrong kind.
        """
        convert(row, _Row)
        if row.get("metric") == "modes":
            convert(row, _ModesRow)
        interval = row.get("interval")
        if isinstance(interval, dict) and None in interval.values():  # not finite when it was written
            row = {**row, "interval": None}
        return convert(row, cls)


def append_rows(path: Path, rows: list[Evaluation]) -> str:
    """Add rows to a file, in place of a last line that was cut short.

    Returns:
        What was removed, as a sentence; empty if nothing was.

    Raises:
        GanforgeError: The file cannot be written, or the disk is full.
    """
    removed = remove_torn_line(path)
    for row in rows:
        append_line(path, to_json(row.to_json()))
    return removed


def read_rows(path: Path) -> list[Evaluation]:
    """The rows of a file, oldest first, without a last line that was cut short; none if there is no file.

    Raises:
        CheckpointError: The file cannot be read, or a line of it is no row.
    """
    try:
        text = read_text(path, most=MOST_BYTES)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    rows = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            if len(line) > LONGEST_LINE:
                raise ValueError(f"it is longer than {LONGEST_LINE} characters")
            rows.append(Evaluation.from_json(parse_json(line, null_nan=True)))
        except ValueError as error:
            raise CheckpointError(f"{path}, line {number}: is no evaluation: {error}", "remove the line") from error
    return rows


def circumstances(device: torch.device, seed: int, data: str) -> dict[str, Any]:
    """Name of the data, device, seed, versions and the moment, ISO 8601 in UTC."""
    return {
        "data": data,
        "seed": seed,
        "device": describe_device(device),
        "versions": software_versions(),
        "date": now(),
    }


def software_versions() -> dict[str, str]:
    """Versions of everything that takes part in a value, by the name of its distribution."""
    return {
        "ganforge": __version__,
        "torch": str(torch.__version__),  # unlike the distribution's metadata this names the build
        "torchvision": importlib.metadata.version("torchvision"),
        "torch-fidelity": importlib.metadata.version("torch-fidelity"),
    }


def describe_device(device: torch.device) -> str:
    """A device in words, such as ``cpu`` or ``cuda:0 (NVIDIA H100 80GB HBM3)``."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def now() -> str:
    """The moment as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
