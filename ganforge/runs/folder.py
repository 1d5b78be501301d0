"""Run directories, such as ``runs/00007-dcgan-nonsat-avatars``."""

from __future__ import annotations

import json
import os
import platform
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ganforge.config.sources import ConfigTree
from ganforge.contract.errors import CheckpointError, GanforgeError, OptionError, nearest
from ganforge.core.atomic_files import lock_file, name_kind, read_text, remove_stale_drafts, write_bytes, write_error
from ganforge.core.json_schema import convert, parse_json
from ganforge.core.text import escape_controls
from ganforge.runs.shipped import DEFAULT, SHIPPED, is_shipped, shipped_names

NUMBER = re.compile(r"(\d{5})-.+")


def is_foreign(path: Path) -> bool:
    """Return whether a file or folder belongs to another user."""
    return path.stat().st_uid != os.geteuid()


def is_index(text: str) -> bool:
    """Return whether a text is a number of at most 9 decimal digits."""
    return text.isdecimal() and len(text) < 10


_CHECKED = ("checkpoints", "export", "explore", "translated")
"""Folders of a run whose entries are all checked. Samples skip bad entries; wandb contains links."""

_SURROGATES = "".join(map(chr, range(0xDC80, 0xDD00)))
"""Surrogates that Python decodes from file names that are not UTF-8."""


class RunFolder:
    """A run directory with untrusted content: a CheckpointError if an entry leads out of it or is no file or folder.

    The directory itself may be behind a symbolic link. Its path must not hold control characters.
    """

    FILES = (
        *("config.json", "log.txt", "metrics.jsonl", "environment.jsonl", "evaluations.jsonl", "run.lock"),
        *("generator.safetensors", "generator-best.safetensors", "training.gif", "nearest.png", "report.html"),
        *("samples.png", "samples.npy", "wandb-id.txt"),
    )
    """Names of files in a run that ganforge and its plugins read or write."""

    FOLDERS = ("samples", "checkpoints", "export", "explore", "translated", "tensorboard", "wandb")
    """Names of folders in a run that ganforge and its plugins read or write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.log = path / "log.txt"
        self.metrics = path / "metrics.jsonl"
        self.samples = path / "samples"
        self.reals = self.samples / "real.png"
        self.checkpoints = path / "checkpoints"
        self.generator = path / "generator.safetensors"
        self.best_generator = path / "generator-best.safetensors"
        self.animation = path / "training.gif"
        self.environment = path / "environment.jsonl"
        self._held: os.stat_result | None = None
        if escape_controls(str(path), keep=_SURROGATES) != str(path):
            raise CheckpointError(f"{escape_controls(str(path))}: the path holds control characters", "rename it")
        if is_run(path):
            self._check()

    def _check(self) -> None:
        """Refuse entries that lead out of the run or block when opened."""
        with suppress(FileNotFoundError):  # being written
            for name in self.FILES:
                _require(self.path / name, stat.S_ISREG)
            for each in self.path.glob("generator-*.safetensors"):
                _require(each, stat.S_ISREG)
            for name in self.FOLDERS:
                if _require(self.path / name, stat.S_ISDIR) and name in _CHECKED:
                    for each in (self.path / name).iterdir():
                        _require(each, lambda mode: stat.S_ISREG(mode) or stat.S_ISDIR(mode))

    @classmethod
    def create(cls, out: Path, name: str) -> RunFolder:
        """Create the directory of a new run in `out`, with the next free number before the name."""
        slug = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "run"
        try:
            out.mkdir(parents=True, exist_ok=True)
            number = max(
                (int(match[1]) for each in out.iterdir() if (match := NUMBER.fullmatch(each.name))), default=-1
            )
            for each in out.iterdir():
                if NUMBER.fullmatch(each.name) and not (each.is_symlink() or is_run(each)):
                    remove_stale_drafts(each.absolute())  # killed before it wrote config.json
            path = None
            while path is None:
                number += 1
                path = cls._claim(out / f"{number:05d}-{slug}")
        except OSError as error:
            raise GanforgeError(
                f"--out {out}: not writable: {error.strerror or error}", "choose another folder"
            ) from error
        run = cls(path)
        run.samples.mkdir()
        run.checkpoints.mkdir()
        return run

    @staticmethod
    def _claim(path: Path) -> Path | None:
        """Create a directory; return None if another run has its number."""
        number = f"{path.name[:5]}-*"
        if any(path.parent.glob(number)):
            return None
        try:
            path.mkdir()
        except FileExistsError:
            return None
        if len(list(path.parent.glob(number))) > 1:
            path.rmdir()
            return None
        return path

    @classmethod
    def find(cls, text: str | None, out: Path) -> RunFolder:
        """Find a run by its path, its name under `out` or its number, or a shipped generator by its name.

        None is the newest run.
        """
        runs = sorted(each for each in out.iterdir() if is_run(each)) if out.is_dir() else []
        if text is None:
            if not runs:
                raise OptionError(
                    f"no run found under {out}/", f"train one first: ganforge train; or name a shipped one: {DEFAULT}"
                )
            return cls(max(runs, key=lambda run: (run / "config.json").lstat().st_mtime_ns))
        path = Path(text)
        if is_run(path):
            return cls(path)
        for run in runs:
            if text == run.name or (is_index(text) and run.name.startswith(f"{int(text):05d}-")):
                return cls(run)
        shipped = shipped_names()
        if text in shipped:
            return cls(SHIPPED / text)
        if os.path.isfile(text):  # unlike Path.is_file, takes names of any length
            raise OptionError(f"{text}: is a file, not a run", "a checkpoint becomes a run by: ganforge import")
        names = [*(run.name for run in runs), *shipped]
        found = (
            "is a folder without config.json, not a run"
            if os.path.isdir(text)
            else f"run not found, here or under {out}/"
        )
        raise OptionError(f"{text}: {found}", nearest(text, names))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the run for training until the block or the process ends."""
        path = self.path / "run.lock"
        try:
            lock = lock_file(path)
        except BlockingIOError:
            raise OptionError(
                f"{self.path} is being trained by {_read_holder(path)}", "wait for it, or stop it"
            ) from None
        except OSError as error:
            raise write_error(path, error) from error
        try:
            with suppress(OSError):  # a full disk: the lock works without the name
                os.ftruncate(lock, 0)
                os.write(lock, f"process {os.getpid()} on {platform.node()}\n".encode())
            self._held = self.path.stat()
            yield
        finally:
            self._held = None
            with suppress(OSError):
                if os.path.samestat(path.lstat(), os.fstat(lock)):
                    path.unlink()
            os.close(lock)

    def require_lock(self) -> None:
        """Raise a `GanforgeError` if the locked directory was moved, deleted or replaced."""
        if self._held is not None:
            with suppress(OSError):
                if os.path.samestat(self.path.stat(), self._held):
                    return
            raise GanforgeError(
                f"{self.path} was moved or deleted while it was trained", "move it back to that path, and resume it"
            )

    def confirm_data(self, given: str | None) -> None:
        """Check that a resumed run may read its data; `given` is what the user names now, None for the configuration's.

        Another user's run may not name paths of this machine. A shipped generator cannot be resumed.
        """
        if is_shipped(self.path):
            name = self.path.name
            raise OptionError(
                f"{name} is a shipped generator, which cannot be resumed", f"ganforge train --init-from {name}"
            )
        data = self.read_config().get("data")
        own, sources = (data.get(key) if isinstance(data, dict) else None for key in ("source", "sources"))
        if isinstance(sources, str) and os.path.exists(sources) and is_foreign(self.path):
            raise OptionError(
                f"{self.path} belongs to another user and reads {sources}", "copy the run directory to allow that"
            )
        if not isinstance(own, str):
            return
        if given is not None and given != own and os.path.realpath(given) != os.path.realpath(own):
            raise OptionError(f"--data {given}: the run was trained on {own}", "--resume requires the same data")
        if given is None and os.path.exists(own) and is_foreign(self.path):
            raise OptionError(f"{self.path} belongs to another user and reads {own}", f"add --data {own} to allow that")

    def generator_path(self, network: str = "") -> Path:
        """Return the path of the EMA generator, or of a further network of the recipe."""
        return self.path / f"generator-{network}.safetensors" if network else self.generator

    def find_generator(self, network: str = "") -> Path:
        """Return the file of the EMA generator, or of a further network of the recipe."""
        if not self.generator.exists():
            raise CheckpointError(f"{self.path}: no generator yet", f"ganforge train --resume {self.path}")
        named = {each.stem.removeprefix("generator-"): each for each in self.path.glob("generator-*.safetensors")}
        named.pop("best", None)
        if network and network not in named:
            raise OptionError(
                f"--network {network}: {self.path} has no such generator", nearest(network, sorted(named))
            )
        return named[network] if network else self.generator

    def write_config(self, tree: dict[str, Any]) -> None:
        """Write ``config.json``."""
        write_bytes(self.config, (json.dumps(tree, indent=2) + "\n").encode())

    def read_config(self) -> dict[str, Any]:
        """Read ``config.json``."""
        try:
            tree: dict[str, Any] = parse_json(read_text(self.config, follow=False))
            convert(tree, ConfigTree)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.config}: cannot be read: {error}") from None
        return tree

    def sample_path(self, images: int) -> Path:
        """Return the path of the sample grid after `images` images."""
        return self.samples / f"{images:09d}.png"

    def sample_paths(self) -> list[Path]:
        """Return all sample grids, oldest first."""
        return sorted(each for each in self.samples.glob("*.png") if each.stem.isdecimal())

    def checkpoint_path(self, images: int) -> Path:
        """Return the path of the checkpoint after `images` images."""
        return self.checkpoints / f"{images:09d}.safetensors"

    def checkpoint_paths(self) -> list[Path]:
        """Return all checkpoints, oldest first."""
        return sorted(each for each in self.checkpoints.glob("*.safetensors") if each.stem.isdecimal())


def is_run(path: Path) -> bool:
    """Return whether a directory is a run: it has a configuration."""
    return os.path.lexists(path / "config.json")


def _require(path: Path, is_right: Callable[[int], bool]) -> bool:
    """Return whether a path exists; raise a `CheckpointError` if it has the wrong type."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    if not is_right(mode):
        where = escape_controls(str(path))
        raise CheckpointError(f"{where}: {name_kind(mode)} is invalid in a run", "remove it, or replace it by a copy")
    return True


def _read_holder(path: Path) -> str:
    try:
        return escape_controls(read_text(path, 1 << 10, follow=False).strip()) or "another process"
    except (OSError, ValueError):
        return "another process"
