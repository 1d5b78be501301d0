"""WAV files of 16-bit PCM as examples ``[C, T]``, and back."""

from __future__ import annotations

import hashlib
import io
import math
import os
import shlex
import wave
from pathlib import Path

import numpy as np
from ganforge import DataError, Dataset, OptionError
from numpy.typing import NDArray

OTHERS = (".aif", ".aiff", ".flac", ".m4a", ".mp3", ".ogg", ".opus")
"""Suffixes of audio that the standard library cannot read."""


class Waves(Dataset):
    """All .wav files of a folder, in pieces of equal length; the last piece of a file is padded with zeros.

    Args:
        path: The folder; its subfolders are read, too.
        length: Samples per example.
        rate: Samples per second of all files.
        first: Whether to take only the first piece of each file.

    Raises:
        OptionError: No path, or an invalid length.
        DataError: No .wav files, or files of another format, rate or number of channels.
    """

    def __init__(self, *, path: str = "", length: int = 16384, rate: int = 16000, first: bool = False) -> None:
        if not path:
            raise OptionError("dataset 'waves': no folder", "--set data.path=FOLDER")
        if length < 1:
            raise OptionError(f"dataset 'waves': length={length} must be at least 1", "such as 16384")
        self.folder, self.length, self.rate = Path(path).expanduser(), length, rate
        found = sorted(self.folder.rglob("*"))
        others = [each for each in found if each.suffix.lower() in OTHERS]
        if others:
            raise DataError(f"{others[0]}: only .wav files are supported", self._conversion(others[0]))
        self.files = [each for each in found if each.suffix.lower() == ".wav"]
        if not self.files:
            raise DataError(f"{self.folder} holds no .wav files", "--set data.path=FOLDER")
        self.pieces = [(file, number) for file in self.files for number in range(1 if first else self._count(file))]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        path, number = self.pieces[index]
        with self._open(path) as file:
            start, channels = number * self.length, file.getnchannels()
            expected = min(self.length, file.getnframes() - start)
            file.setpos(start)
            content = file.readframes(expected)
        if len(content) < 2 * expected * channels:
            raise DataError(f"{path} is truncated", "repair or remove it")
        signal = np.zeros((channels, self.length), np.float32)
        signal[:, :expected] = np.frombuffer(content, "<i2").reshape(expected, channels).T / 32768
        return signal

    def example_name(self, index: int) -> str:
        path, number = self.pieces[index]
        return f"{path.relative_to(self.folder)} from sample {number * self.length}"

    def cache_key(self) -> str:
        """Return a digest of names, sizes and times of the files."""
        digest = hashlib.sha256(os.fsencode(self.folder.resolve()))
        for file in self.files:
            info = file.stat()
            digest.update(os.fsencode(f"\0{file.relative_to(self.folder)}\0{info.st_size}\0{info.st_mtime_ns}"))
        return digest.hexdigest()

    def _count(self, path: Path) -> int:
        with self._open(path) as file:
            return max(1, math.ceil(file.getnframes() / self.length))

    def _open(self, path: Path) -> wave.Wave_read:
        """Open a file; raise `DataError` unless it has 16 bits and the rate of the option."""
        try:
            file = wave.open(str(path), "rb")  # noqa: SIM115
        except (OSError, EOFError, wave.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error) or "it is truncated"
            raise DataError(f"{path} cannot be read: {reason}", self._conversion(path)) from None
        if file.getsampwidth() != 2:
            raise DataError(f"{path}: {8 * file.getsampwidth()} bits, not 16", self._conversion(path))
        if file.getframerate() != self.rate:
            hint = f"--set data.rate={file.getframerate()} if all files have it, or {self._conversion(path)}"
            raise DataError(f"{path}: {file.getframerate()} samples per second, not {self.rate}", hint)
        return file

    def _conversion(self, path: Path) -> str:
        new = path.with_name(f"{path.stem}-16{path.suffix}") if path.suffix == ".wav" else path.with_suffix(".wav")
        words = ("ffmpeg", "-i", str(path), "-c:a", "pcm_s16le", "-ar", str(self.rate), str(new))
        return f"convert it: {shlex.join(words)}"


def wav_bytes(signal: NDArray[np.float32], rate: int) -> bytes:
    """Return a signal ``[C, T]`` in [-1, 1] as a WAV file of 16 bits."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(len(signal))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((signal.T * 32768).round().clip(-32768, 32767).astype("<i2").tobytes())
    return content.getvalue()
