"""Run folders: ``runs/00007-dcgan-nonsat-avatars`` and what lies in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ganforge.errors import CheckpointError, GanforgeError, OptionError, nearest
from ganforge.files import read_text, write_bytes
from ganforge.schema import convert, parse_json
from ganforge.settings import ConfigTree

NUMBER = re.compile(r"(\d{5})-.+")


def is_index(text: str) -> bool:
    """Whether a text is a number that `int` reads and somebody could mean: ``²`` and a thousand digits are none."""
    return text.isdecimal() and len(text) < 10


class RunFolder:
    """One run on disk.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.log = path / "log.txt"
        self.metrics = path / "metrics.jsonl"
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.generator = path / "generator.safetensors"
        self.best_generator = path / "generator-best.safetensors"
        self.animation = path / "training.gif"
        self.environment = path / "environment.jsonl"

    @classmethod
    def create(cls, out: Path, name: str) -> RunFolder:
        """Make the folder of a new run under the next free number.

        Args:
            out: The folder of all runs.
            name: What follows the number.

        Raises:
            GanforgeError: The folder cannot be made.
        """
        slug = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "run"
        try:
            out.mkdir(parents=True, exist_ok=True)
            number = max(
                (int(match[1]) for each in out.iterdir() if (match := NUMBER.fullmatch(each.name))), default=-1
            )
            path = None
            while path is None:
                number += 1
                path = cls._claim(out / f"{number:05d}-{slug}")
        except OSError as error:
            raise GanforgeError(
                f"--out {out}: cannot be written: {error.strerror or error}", "choose another folder"
            ) from error
        run = cls(path)
        run.samples.mkdir()
        run.checkpoints.mkdir()
        return run

    @staticmethod
    def _claim(path: Path) -> Path | None:
        """The folder, newly made; None if another run has its number, or takes it at the same moment."""
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
        """The run that a user means.

        Args:
            text: A path, a folder's name under `out`, or its number; None for the newest.
            out: The folder of all runs.

        Raises:
            OptionError: There is none.
        """
        runs = sorted(each for each in out.iterdir() if (each / "config.json").is_file()) if out.is_dir() else []
        if text is None:
            if not runs:
                raise OptionError(f"there is no run under {out}/", "train one first: ganforge train")
            return cls(max(runs, key=lambda run: (run / "config.json").stat().st_mtime_ns))
        path = Path(text)
        if (path / "config.json").is_file():
            return cls(path)
        for run in runs:
            if text == run.name or (is_index(text) and run.name.startswith(f"{int(text):05d}-")):
                return cls(run)
        raise OptionError(f"{text}: is no run, here or under {out}/", nearest(text, [run.name for run in runs]))

    def find_generator(self) -> Path:
        """The file of its averaged generator.

        Raises:
            CheckpointError: It has saved none yet.
        """
        if not self.generator.exists():
            raise CheckpointError(f"{self.path} holds no generator yet", f"ganforge train --resume {self.path}")
        return self.generator

    def write_config(self, tree: dict[str, Any]) -> None:
        """Write ``config.json``."""
        write_bytes(self.config, (json.dumps(tree, indent=2) + "\n").encode())

    def read_config(self) -> dict[str, Any]:
        """Read ``config.json``.

        Raises:
            CheckpointError: It is damaged.
        """
        try:
            tree: dict[str, Any] = parse_json(read_text(self.config))
            convert(tree, ConfigTree)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.config}: cannot be read: {error}") from None
        return tree

    def sample_path(self, images: int) -> Path:
        """The grid drawn after so many images."""
        return self.samples / f"{images:09d}.png"

    def checkpoint_path(self, images: int) -> Path:
        """The checkpoint taken after so many images."""
        return self.checkpoints / f"{images:09d}.safetensors"

    def checkpoint_paths(self) -> list[Path]:
        """All checkpoints, oldest first."""
        return sorted(each for each in self.checkpoints.glob("*.safetensors") if each.stem.isdecimal())
