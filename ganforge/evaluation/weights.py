"""Published weights, found, checked and read without running anything; and the Inception network that needs them."""

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


class InceptionFeatures(nn.Module):
    """The features of `load_inception` for images that need not be whole numbers of [0, 255], as FID's are.

    Two images that differ by less than half a level are one and the same to FID. Resize and network are those of
    torch-fidelity.

    Args:
        extractor: What `load_inception` gives.
    """

    def __init__(self, extractor: Extractor) -> None:
        super().__init__()
        self.network = extractor.network

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[N, 2048]`` of images ``[N, 3, H, W]`` in [-1, 1]."""
        from torch_fidelity.interpolate_compat_tensorflow import (  # type: ignore[import-untyped]
            interpolate_bilinear_2d_like_tensorflow1x as resize,
        )

        pixels = resize(images * 127.5 + 127.5, size=(299, 299), align_corners=False)
        first = self.network.get_submodule("Conv2d_1a_3x3")
        # Its forward takes whole numbers alone, so it is given nothing, and its first layer what it would have made of
        # the images.
        hook = first.register_forward_pre_hook(lambda module, given: ((pixels - 128) / 128,))
        try:
            features: Tensor = self.network(torch.zeros(len(images), 3, 1, 1, dtype=torch.uint8, device=images.device))[
                0
            ]
        finally:
            hook.remove()
        return features


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
    hub = PublishedFile(FILE_NAME, URL, SHA256, _EXPECTED)
    return hub.find("FID", "by --inception-weights FILE")


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
            CheckpointError: It cannot be downloaded, or what is published has another SHA-256.
        """
        target = Path(torch.hub.get_dir(), "checkpoints", self.name)
        if target.is_file():
            return target
        try:
            with urllib.request.urlopen(self.url, timeout=30) as reply:
                data = reply.read()
        except (OSError, HTTPException) as error:
            raise CheckpointError(
                f"{user} needs {self.description}, which is not here and cannot be downloaded: {error}",
                f"fetch {self.url} where there is a network and put it at {target}, or name it {otherwise}",
            ) from error
        sha256 = hashlib.sha256(data).hexdigest()
        if not sha256.startswith(self.sha256):
            raise CheckpointError(
                f"{self.url} gave another file, of SHA-256 {sha256[:8]}...", f"expected {self.description}"
            )
        write_bytes(target, data)
        return target


def read_weights(path: Path, expected: str = _EXPECTED) -> tuple[dict[str, Tensor], str]:
    """Read tensors by name from a ``.safetensors`` file or a PyTorch one; nothing that it holds is run.

    Args:
        path: The file.
        expected: What it should hold, in words, for an error.

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
        raise CheckpointError(f"{path} cannot be read: {error.strerror}", f"expected {expected}") from error
    except Exception as error:  # a file that is damaged, or made to deceive, can fail in any way
        raise CheckpointError(
            f"{path} is no file of weights: it is damaged, or holds something else than tensors; none of it was run",
            f"expected {expected}",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} holds something else than tensors by name", f"expected {expected}")
    return {str(name): tensor.detach() for name, tensor in state.items()}, hashlib.sha256(data).hexdigest()
