"""One number about a generator with all that it must be quoted with: a row of ``evaluations.jsonl``."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import torch

from ganforge.errors import CheckpointError
from ganforge.evaluation.statistics import Interval
from ganforge.files import append_line, cannot_write, read_text
from ganforge.forms import Maybe, find_misfit, parse_json
from ganforge.version import __version__

FILE = "evaluations.jsonl"
"""Where the rows of a run lie, in its folder."""

MOST_BYTES = 1 << 28
"""What such a file may have; a hundred thousand rows."""

_ROW = {
    "metric": str,
    "value": Maybe(float),
    "interval": Maybe({"value": float, "low": float, "high": float, "level": float}),
    "better": Maybe(str),
    "details": dict,
    "protocol": {
        "extractor": Maybe(str),
        "weights_sha256": Maybe(str),
        "protocol": Maybe(str),
        "num_samples": Maybe(int),
        "num_references": Maybe(int),
        "data_fingerprint": Maybe(str),
        "split": Maybe(str),
        "truncation": Maybe(float),
    },
    "subject": {"kind": str, "name": str, "digest": str, "weights": Maybe(str), "images_seen": Maybe(int)},
    "circumstances": {"data": str},
    "notes": [str],
}
"""What of a row others rely on; more is free."""

Better = Literal["lower", "higher"]


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
        if misfit := find_misfit(row, _ROW, "it"):
            raise ValueError(misfit)
        interval = row.get("interval")
        known = {each.name: row.get(each.name) for each in fields(cls)}
        if interval is not None:
            interval = Interval(**{each.name: interval[each.name] for each in fields(Interval)})
        known |= {"interval": interval, "notes": tuple(row["notes"])}
        return cls(**known)


def append_rows(path: Path, rows: list[Evaluation]) -> None:
    """Add rows to a file, in place of a last line that was cut short.

    Raises:
        GanforgeError: The file cannot be written, or the disk is full.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
        if not content.endswith(b"\n") and content:
            os.truncate(path, content.rfind(b"\n") + 1)
    except OSError as error:
        raise cannot_write(path, error) from error
    for row in rows:
        append_line(path, json.dumps(row.to_json()))


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
            rows.append(Evaluation.from_json(parse_json(line)))
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
