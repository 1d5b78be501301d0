"""Files of weights, found, checked and read without running anything."""

from __future__ import annotations

import hashlib
import io
import urllib.request
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError, GanforgeError
from ganforge.core.atomic_files import read_bytes, write_bytes
from ganforge.core.cache import cache_folder
from ganforge.runs.checkpoint import read_tensors, save_tensors


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights as its authors publish it.

    Attributes:
        name: Of the file.
        url: Where it can be had.
        sha256: What its SHA-256 begins with; empty if its authors do not say.
        description: The file in words.
    """

    name: str
    url: str
    sha256: str
    description: str

    def find(self, user: str, otherwise: str) -> Path:
        """The file in ``checkpoints`` under the folder of ``torch.hub``; downloaded if it is not there yet.

        Args:
            user: What needs it, for an error.
            otherwise: How else a file can be named, for an error.

        Raises:
            CheckpointError: It cannot be downloaded, or what is there or is published has another SHA-256.
        """
        target = Path(torch.hub.get_dir(), "checkpoints", self.name)
        if target.is_file():
            self._check(read_bytes(target), str(target), f"remove it, or name another {otherwise}")
            return target
        try:
            with urllib.request.urlopen(self.url, timeout=30) as reply:
                data = reply.read()
        except (OSError, HTTPException) as error:
            raise CheckpointError(
                f"{user} needs {self.description}, which is not here and cannot be downloaded: {error}",
                f"fetch {self.url} where there is a network and put it at {target}, or name it {otherwise}",
            ) from error
        self._check(data, self.url, "try again, or get the file elsewhere")
        write_bytes(target, data)
        return target

    def _check(self, data: bytes, where: str, remedy: str) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        if not sha256.startswith(self.sha256):
            raise CheckpointError(
                f"{where} is another file, of SHA-256 {sha256[:8]}...", f"expected {self.description}; {remedy}"
            )


def read_weights(path: Path, expected: str) -> tuple[dict[str, Tensor], str]:
    """Read tensors by name from a ``.safetensors`` file or a PyTorch one; nothing that it holds is run.

    Args:
        path: The file.
        expected: What it should hold, in words, for an error.

    Returns:
        The tensors on the CPU, and the SHA-256 of the very bytes that they were read from.

    Raises:
        CheckpointError: The file cannot be read, or holds anything else than finite tensors by name.
    """
    data = _read(path, expected)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = (
                safetensors.torch.load(data)
                if path.suffix == ".safetensors"
                else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            )
    except Exception as error:  # a file that is damaged, or made to deceive, can fail in any way
        raise CheckpointError(
            f"{path} is no file of weights: it is damaged, or holds something else than tensors; none of it was run",
            f"expected {expected}",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} holds something else than tensors by name", f"expected {expected}")
    # Now, since not all that is not finite is seen in features: a ReLU may make 0 of it.
    if any(tensor.is_floating_point() and not tensor.isfinite().all() for tensor in state.values()):
        raise CheckpointError(f"{path} is damaged: not all of its weights are finite", f"expected {expected}")
    return {str(name): tensor.detach() for name, tensor in state.items()}, hashlib.sha256(data).hexdigest()


def read_converted(path: Path, expected: str) -> tuple[dict[str, Tensor], str]:
    """As `read_weights`, but a PyTorch file is read once alone.

    Its tensors are kept as safetensors in the cache, by the SHA-256 of the file, and are found there from then on.
    """
    if path.suffix == ".safetensors":
        return read_weights(path, expected)
    sha256 = hashlib.sha256(_read(path, expected)).hexdigest()
    kept = cache_folder() / "weights" / f"{sha256}.safetensors"
    try:
        state, card = read_tensors(kept)
        if card.get("origin_sha256") == sha256:
            return state, sha256
    except CheckpointError:  # absent or damaged: it can be made again
        pass
    state, sha256 = read_weights(path, expected)
    with suppress(GanforgeError):  # a cache that cannot be written costs time alone
        save_tensors(kept, state, {"kind": "weights", "origin": path.name, "origin_sha256": sha256})
    return state, sha256


def _read(path: Path, expected: str) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}", f"expected {expected}") from error
