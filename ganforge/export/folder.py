"""Folders that an exporter writes: filled beside their place, and of what is there only its own files are replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganforge.contract.errors import OptionError
from ganforge.core.atomic_files import drafting, write_error

SUMS = "SHA256SUMS"
"""Name of the list of what was written, as ``sha256sum -c`` reads it."""


@contextmanager
def replacing_folder(path: Path, sign: str) -> Iterator[Path]:
    """An empty folder beside `path` to be filled; when the block ends without an error, its files move into `path`.

    Files of an earlier export are replaced, or go if there is nothing in their place; others in the folder stay.

    Args:
        path: The folder; nothing is there, or an empty folder, or what was written this way before.
        sign: Name of a file that all folders of this kind have.

    Raises:
        OptionError: Something else is there, or a file of an earlier export has been changed since.
        GanforgeError: An OSError came: the folder cannot be written, or the disk is full.
    """
    try:
        older = list_own(path, sign)
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
    """All files below a folder by their paths in it, with slashes, sorted."""
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if not each.is_dir())


def list_own(path: Path, sign: str) -> set[str]:
    """Paths of the files that were written into a folder before; none if nothing is there, or an empty folder.

    Args:
        path: The folder.
        sign: Name of a file that it must have written, to be of this kind.

    Raises:
        OptionError: Something else is there, or a file has been changed.
    """
    if not path.is_symlink() and (not path.exists() or (path.is_dir() and not any(path.iterdir()))):
        return set()
    try:
        lines = [line.split("  ", 1) for line in (path / SUMS).read_text().splitlines()]
        digests = {name: digest for digest, name in lines}
    except (OSError, ValueError):  # there is no list, or none of ours
        digests = {}
    if sign not in digests or any(not (path / name).resolve().is_relative_to(path.resolve()) for name in digests):
        raise OptionError(f"{path} is there, and no earlier export of this kind", "name a folder that is not there")
    for name, digest in digests.items():
        if (path / name).exists() and _digest(path / name) != digest:
            raise OptionError(f"{path / name} has been changed since it was exported", "name another folder")
    return set(digests)


def _digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
