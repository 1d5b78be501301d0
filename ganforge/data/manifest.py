"""Manifests of packed folders: name, shape, labels, fingerprint and origin, as validated JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from ganforge.contract.errors import DataError
from ganforge.core.atomic_files import open_regular
from ganforge.core.json_schema import PositiveInt, convert, parse_json
from ganforge.data.text import printable, reason_of

FORMAT = "ganforge-data-1"  # name and version of the format of packed folders and of their preprocessing
AGAIN = "pack the data again"

_MANIFEST_BYTES = 1 << 26
"""Maximum size of a manifest in bytes; it may name many skipped examples, and parsed it is far larger."""


def is_packed(folder: Path) -> bool:
    """Return whether a folder is a packed folder; other programs write a ``manifest.json`` too."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return False
    if (folder / "examples.npy").exists():
        return True
    with open_regular(manifest) as file:
        return b"ganforge-data-" in file.read(_MANIFEST_BYTES)


class _Origin(TypedDict, total=False):
    left_out: dict[str, Any]


class _Manifest(TypedDict):
    """Required fields of a manifest."""

    name: str
    shape: list[PositiveInt]
    dtype: Literal["uint8", "uint16", "float32"]
    class_names: list[str]
    number_names: NotRequired[list[str]]
    fingerprint: str
    origin: _Origin
    sources: NotRequired[str]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the validated manifest of a packed folder; raise `DataError` if it is invalid."""
    path = folder / "manifest.json"
    where = printable(str(path))
    try:
        with open_regular(path) as file:
            content = file.read(_MANIFEST_BYTES + 1)
        if len(content) > _MANIFEST_BYTES:
            raise ValueError(f"larger than {_MANIFEST_BYTES >> 20} MiB")
        manifest = parse_json(content)
    except FileNotFoundError:
        raise DataError(
            f"{printable(str(folder))} is not a packed folder: it has no manifest.json",
            "give a folder from `ganforge data pack`",
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{where} cannot be read: {reason_of(error)}", AGAIN) from None
    written = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(written, str) or not written.startswith("ganforge-data-"):
        raise DataError(f"{where} was not written by ganforge", "give a folder from `ganforge data pack`")
    if written != FORMAT:
        raise DataError(f"{where} has format {printable(written[:40])}; this version reads {FORMAT}", AGAIN)
    try:
        convert(manifest, _Manifest)
    except ValueError as error:
        raise DataError(f"{where}: {error}", AGAIN) from None
    shape, dtype = manifest["shape"], manifest["dtype"]
    if not (len(shape) == 4 or (dtype == "float32" and len(shape) in (2, 3))):
        raise DataError(f"{where}: its shape and dtype are neither of images nor of signals or vectors", AGAIN)
    return {**manifest, "name": printable(manifest["name"])}
