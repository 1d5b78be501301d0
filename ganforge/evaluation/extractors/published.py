"""Weight files: download, verification and safe reading."""

from __future__ import annotations

import hashlib
import io
import os
import urllib.request
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError, GanforgeError
from ganforge.core.atomic_files import read_bytes, write_bytes
from ganforge.core.cache import cache_folder
from ganforge.runs.checkpoint import read_tensors, save_tensors


@dataclass(frozen=True)
class PublishedFile:
    """Published weight file with its address, the start of its SHA-256 (empty if unpublished) and its name for
    messages.
    """

    name: str
    url: str
    sha256: str
    description: str

    def find(self, user: str, otherwise: str) -> Path:
        """Return the path in torch.hub's folder ``checkpoints``, and download the file if missing.

        `user` and `otherwise` name the user of the file and another way to give it, for errors.
        """
        target = Path(torch.hub.get_dir(), "checkpoints", self.name)
        if target.is_file():
            self._check(read_bytes(target), str(target), f"remove it, or give another {otherwise}")
            return target
        try:
            with urllib.request.urlopen(self.url, timeout=30) as reply:
                data = reply.read()
        except (OSError, HTTPException) as error:
            raise CheckpointError(
                f"{user} needs {self.description}, which is missing and cannot be downloaded: {error}",
                f"download {self.url} to {target}, or give the file {otherwise}",
            ) from error
        self._check(data, self.url, "try again, or download the file elsewhere")
        write_bytes(target, data)
        return target

    def _check(self, data: bytes, where: str, remedy: str) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        if not sha256.startswith(self.sha256):
            raise CheckpointError(
                f"{where} is another file, of SHA-256 {sha256[:8]}...", f"expected {self.description}; {remedy}"
            )


def read_weights(path: Path, expected: str) -> tuple[dict[str, Tensor], str]:
    """Read finite tensors by name from a ``.safetensors`` or PyTorch file, without running code.

    Returns:
        Tensors on the CPU, and the SHA-256 of the file.
    """
    data = read_file(path, expected)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = (
                safetensors.torch.load(data)
                if path.suffix == ".safetensors"
                else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            )
    except Exception as error:  # damaged or malicious files fail in any way
        raise CheckpointError(
            f"{path} is no weight file: it is damaged, or holds other things than tensors; none of it was run",
            f"expected {expected}",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} holds other things than tensors by name", f"expected {expected}")
    # Features may hide it: a ReLU maps nan to 0.
    if any(tensor.is_floating_point() and not tensor.isfinite().all() for tensor in state.values()):
        raise CheckpointError(f"{path} is damaged: not all of its weights are finite", f"expected {expected}")
    return {str(name): tensor.detach() for name, tensor in state.items()}, hashlib.sha256(data).hexdigest()


def read_converted(path: Path, expected: str) -> tuple[dict[str, Tensor], str]:
    """Read weights like `read_weights`, with a safetensors copy of PyTorch files in the cache."""
    if path.suffix == ".safetensors":
        return read_weights(path, expected)
    sha256 = hashlib.sha256(read_file(path, expected)).hexdigest()
    kept = cache_folder() / "weights" / f"{sha256}.safetensors"
    try:
        state, card = read_tensors(kept)
        if card.get("origin_sha256") == sha256:
            return state, sha256
    except CheckpointError:  # missing or damaged
        pass
    state, sha256 = read_weights(path, expected)
    with suppress(GanforgeError):  # a cache that cannot be written only costs time
        save_tensors(kept, state, {"kind": "weights", "origin": path.name, "origin_sha256": sha256})
    return state, sha256


def read_file(path: Path, expected: str = "") -> bytes:
    """Return the bytes of a file; raise CheckpointError if it cannot be read."""
    try:
        return read_bytes(path)
    except OSError as error:
        hint = f"expected {expected}" if expected else ""
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}", hint) from error


def load_torchscript(content: bytes, device: torch.device | str, files: dict[str, str] | None = None) -> Any:
    """Load a TorchScript network, which runs code, and fill `files`; raise RuntimeError if it is invalid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(io.BytesIO(content), map_location=device, _extra_files=files)  # type: ignore[no-untyped-call]


def find_given(path: Path | None, flag: str, variable: str) -> tuple[Path, str] | None:
    """Return the path of a flag or else of an environment variable, and the name of its source."""
    value = os.environ.get(variable)
    for given, source in ((path, flag), (Path(value) if value else None, f"${variable}")):
        if given is not None:
            return given.expanduser(), source
    return None
