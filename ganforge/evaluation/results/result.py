"""Results of metrics, and rows of ``evaluations.jsonl``."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NotRequired, Self, TypedDict

import msgspec
import torch

from ganforge.contract.errors import CheckpointError
from ganforge.contract.metric import Better, Interval
from ganforge.contract.metric import Measured as Measured
from ganforge.core.accelerator import name_gpu
from ganforge.core.atomic_files import append_line, read_text, remove_torn_line
from ganforge.core.json_schema import LONGEST_LINE, NonNegativeInt, convert, parse_json, to_json
from ganforge.version import __version__

FILE = "evaluations.jsonl"

MOST_BYTES = 1 << 28
"""Maximum size of the file, about a hundred thousand rows."""


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


class _Coverage(TypedDict):
    num_covered: NonNegativeInt
    num_modes: NonNegativeInt


class _Modes(TypedDict, total=False):
    classes: list[_Share]
    coverage: _Coverage


class _ModesRow(TypedDict):
    details: _Modes


class _Row(TypedDict):
    """Required fields of a row; others are optional."""

    details: dict[str, Any]
    protocol: _Protocol
    subject: _Subject
    circumstances: _Circumstances
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Result of a metric of a run.

    Attributes:
        found: Results in the metric's own types.
        values: Values, one per row.
        text: Report, one line per number.
        protocol: Fields that are equal for all comparable rows.
        seed: Seed of the first sample, or of the run.
    """

    found: Any
    values: list[Measured]
    text: str
    protocol: dict[str, Any]
    seed: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Row of ``evaluations.jsonl``: a value with its provenance.

    Attributes:
        metric: Name, such as ``fid`` or ``fd_mnist-classifier``.
        value: None if undefined.
        interval: Confidence interval, or None.
        better: Direction of improvement, or None.
        details: Further results.
        protocol: Fields that are equal for all comparable values.
        subject: Kind, name, digest of the weights, ``raw`` or ``averaged`` (EMA) weights, images seen.
        circumstances: Fields that may differ between comparable values: data, seed, device, versions, date.
        notes: Reasons against comparing the value, in sentences.
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
        """Return a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Any) -> Self:
        """Validate and return a row that `to_json` wrote; raise ValueError for invalid fields."""
        convert(row, _Row)
        if row.get("metric") == "modes":
            convert(row, _ModesRow)
        interval = row.get("interval")
        if isinstance(interval, dict) and None in interval.values():  # not finite when it was written
            row = {**row, "interval": None}
        return convert(row, cls)


def append_rows(path: Path, rows: list[Evaluation]) -> str:
    """Append rows to a file after removal of a truncated last line; return a message about it, or an empty string."""
    removed = remove_torn_line(path)
    for row in rows:
        append_line(path, to_json(row.to_json()))
    return removed


def read_rows(path: Path) -> list[Evaluation]:
    """Return the rows of a file, oldest first, without a truncated last line; none if the file does not exist."""
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
    """Return data, seed, device, software versions and date of an evaluation."""
    return {
        "data": data,
        "seed": seed,
        "device": describe_device(device),
        "versions": software_versions(),
        "date": now(),
    }


def software_versions() -> dict[str, str]:
    """Return the versions of all packages that influence a value, by distribution."""
    return {
        "ganforge": __version__,
        "torch": str(torch.__version__),  # unlike the distribution's metadata this names the build
        "torchvision": importlib.metadata.version("torchvision"),
        "torch-fidelity": importlib.metadata.version("torch-fidelity"),
    }


def describe_device(device: torch.device) -> str:
    """Return the name of a device, such as ``cpu`` or ``cuda:0 (NVIDIA H100 80GB HBM3)``."""
    model = name_gpu(device)
    return str(device) if model == device.type else f"{device} ({model})"


def now() -> str:
    """Return the time in seconds, as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
