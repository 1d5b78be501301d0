"""Exported folders: written atomically, replacing only files of an earlier export."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganforge.contract.errors import OptionError
from ganforge.core.atomic_files import drafting, write_error

SUMS = "SHA256SUMS"
"""Name of the list of exported files, in the format of ``sha256sum -c``."""


@contextmanager
def replacing_folder(path: Path, sign: str) -> Iterator[Path]:
    """Yield an empty draft folder; when the block ends without an error, move its files into `path`.

    Files of an earlier export are replaced or removed; other files stay.

    Args:
        path: A missing or empty folder, or an earlier export.
        sign: Name of a file that every export of this kind has.

    Raises:
        OptionError: The folder holds something else, or a file of an earlier export was modified.
        GanforgeError: The folder cannot be written, or the disk is full.
    """
    try:
        older = exported_files(path, sign)
        with drafting(path) as draft:
            draft.mkdir()
            yield draft
            names = list_files(draft)
            (draft / SUMS).write_text("".join(f"{_digest(draft / name)}  {name}\n" for name in names))
            if older:
                for name in [*names, SUMS]:
                    (path / name).parent.mkdir(parents=True, exist_ok=True)
                    (draft / name).replace(path / name)
                for name in older - set(names):
                    (path / name).unlink(missing_ok=True)
            else:
                draft.replace(path)
    except OSError as error:
        raise write_error(path, error) from error


def list_files(folder: Path) -> list[str]:
    """Return the sorted relative paths of all files below a folder, with slashes."""
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if not each.is_dir())


def exported_files(path: Path, sign: str) -> set[str]:
    """Return the paths of an earlier export; empty for a missing or empty folder.

    Args:
        path: The folder.
        sign: Name of a file that every export of this kind has.

    Raises:
        OptionError: The folder holds something else, or a file was modified.
    """
    if not path.is_symlink() and (not path.exists() or (path.is_dir() and not any(path.iterdir()))):
        return set()
    try:
        lines = [line.split("  ", 1) for line in (path / SUMS).read_text().splitlines()]
        digests = {name: digest for digest, name in lines}
    except (OSError, ValueError):  # the list is missing or invalid
        digests = {}
    if sign not in digests or any(not (path / name).resolve().is_relative_to(path.resolve()) for name in digests):
        raise OptionError(f"{path} already exists, and is not an earlier export of this kind", "name another folder")
    for name, digest in digests.items():
        if (path / name).exists() and _digest(path / name) != digest:
            raise OptionError(f"{path / name} was modified after its export", "name another folder")
    return set(digests)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
