"""The Inception network that FID looks through: its weights are found, checked, and read without running anything."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import urllib.request
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from ganforge.errors import CheckpointError, GanforgeError
from ganforge.files import write_bytes

FILE_NAME = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE_NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "GANFORGE_INCEPTION_WEIGHTS"

_EXPECTED = f"{FILE_NAME} (91 MiB, SHA-256 {SHA256[:8]}...)"


@dataclass(frozen=True)
class Extractor:
    """A frozen network that turns images into features.

    Attributes:
        name: Its name in torch-fidelity.
        network: Takes uint8 ``[N, 3, H, W]`` of any size; returns a tuple of one tensor, float32 ``[N, D]``.
        weights_sha256: SHA-256 of the file of its weights.
        is_published: Whether that is the file that its authors published.
        resize: How it brings images to its own size.
    """

    name: str
    network: nn.Module
    weights_sha256: str
    is_published: bool
    resize: str


def load_inception(weights: Path | None) -> Extractor:
    """The Inception v3 of the first FID paper, as torch-fidelity ported it; features are those of its last pooling.

    Args:
        weights: File of its weights; None to look for it, see `find_weights`.

    Returns:
        The extractor on the CPU; D is 2048.

    Raises:
        CheckpointError: There is no such file, or it holds something else.
    """
    path = find_weights(weights)
    state, sha256 = read_weights(path)
    # torch-fidelity reads weights with an unpickler that runs whatever the file says, so what it is handed is
    # written here, from tensors already read.
    with tempfile.TemporaryDirectory(prefix="ganforge-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from torch_fidelity import FeatureExtractorInceptionV3  # type: ignore[import-untyped]
        except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
            raise GanforgeError(
                f"torch-fidelity cannot be imported: {error}",
                "install torch, torchvision and torch-fidelity together, from one package index",
            ) from error
        clean = Path(folder) / "inception.pth"
        torch.save(state, clean)
        try:
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(clean)
            )
        except RuntimeError as error:
            raise CheckpointError(f"{path} holds the weights of another network", f"expected {_EXPECTED}") from error
    return Extractor(
        name="inception-v3-compat",
        network=network.to(memory_format=torch.channels_last),  # a third faster on a CPU, features equal to 1e-6
        weights_sha256=sha256,
        is_published=sha256 == SHA256,
        resize="TF1 bilinear to 299, no antialias, as in torch-fidelity",
    )


def find_weights(weights: Path | None) -> Path:
    """The file of weights to use: the one named, else ``$GANFORGE_INCEPTION_WEIGHTS``, else torch-fidelity's own.

    torch-fidelity keeps its file in ``checkpoints`` under the folder of ``torch.hub``. If it is not there yet, it is
    downloaded, and its SHA-256 compared with the published one.

    Raises:
        CheckpointError: The file that was named does not exist, or none was and it cannot be downloaded.
    """
    variable = os.environ.get(VARIABLE)
    for path, source in ((weights, "--inception-weights"), (Path(variable) if variable else None, f"${VARIABLE}")):
        if path is not None:
            path = path.expanduser()
            if not path.is_file():
                raise CheckpointError(f"{source}: there is no file {path}", f"expected {_EXPECTED}")
            return path
    path = Path(torch.hub.get_dir(), "checkpoints", FILE_NAME)
    if not path.is_file():
        _download(path)
    return path


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read tensors by name from a ``.safetensors`` file or a PyTorch one; nothing that it holds is run.

    Returns:
        The tensors on the CPU, and the SHA-256 of the very bytes that they were read from.

    Raises:
        CheckpointError: The file cannot be read, or holds anything else than tensors by name.
    """
    try:
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = (
                safetensors.torch.load(data)
                if path.suffix == ".safetensors"
                else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            )
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}", f"expected {_EXPECTED}") from error
    except Exception as error:  # a file that is damaged, or made to deceive, can fail in any way
        raise CheckpointError(
            f"{path} is no file of weights: it is damaged, or holds something else than tensors; none of it was run",
            f"expected {_EXPECTED}",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} holds something else than tensors by name", f"expected {_EXPECTED}")
    return {str(name): tensor.detach() for name, tensor in state.items()}, hashlib.sha256(data).hexdigest()


def _download(target: Path) -> None:
    try:
        with urllib.request.urlopen(URL, timeout=30) as reply:
            data = reply.read()
    except (OSError, HTTPException) as error:
        raise CheckpointError(
            f"FID needs {_EXPECTED}, which is not here and cannot be downloaded: {error}",
            f"fetch {URL} where there is a network and put it at {target}, or name it by --inception-weights FILE",
        ) from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != SHA256:
        raise CheckpointError(f"{URL} gave another file, of SHA-256 {sha256[:8]}...", f"expected {_EXPECTED}")
    write_bytes(target, data)
