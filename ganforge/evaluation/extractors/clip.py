"""CLIP as a feature extractor, with torch-fidelity's network and the preprocessing of CMMD."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError, GanforgeError
from ganforge.contract.extractor import Extractor
from ganforge.evaluation.extractors.pixels import normalize, require_photographs, resize_bicubic
from ganforge.evaluation.extractors.published import PublishedFile, load_torchscript, read_file, read_weights

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_EXPECTED = "a file of OpenAI's, or all of CLIP's tensors by name"


class ClipExtractor(Extractor):
    """Image encoder of CLIP (Radford et al. 2021, arXiv:2103.00020), as built by torch-fidelity.

    Features are image embeddings, D = 512 to 1024; there are no logits. Images are resized as for CMMD (Jayasumana et
    al. 2024, arXiv:2401.09603). OpenAI's files are TorchScript, which contains
    code, so they are opened only if the SHA-256 is the published one. Other files are read as tensors.

    Args:
        data: Images of 1 channel, which is repeated, or of 3.
        model: OpenAI's model, if no file is given.
        weights: OpenAI's file, or CLIP's tensors as ``.safetensors`` or ``.pth``; empty to download the model to
            torch-fidelity's folder.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        model: Literal[
            "rn50", "rn101", "rn50x4", "rn50x16", "rn50x64", "vit-b-32", "vit-b-16", "vit-l-14", "vit-l-14-336px"
        ] = "vit-b-32",
        weights: str = "",
    ) -> None:
        super().__init__()
        require_photographs(data, "clip")
        fidelity = _import_fidelity()
        path = Path(weights).expanduser() if weights else _find(model, fidelity)
        state, self.weights_sha256, name = _read(path, fidelity)
        try:
            with torch.random.fork_rng(devices=[]):
                self.network = fidelity.build_model(state, torch.float32).visual
        except Exception as error:  # shapes come from the file, so other weights fail in any way
            raise CheckpointError(f"{path}: holds weights of another network", f"expected {_EXPECTED}") from error
        self.label = name or f"clip-{self.weights_sha256[:8]}"
        if not name:
            self.notes = (f"{path.name} is no file of OpenAI's: its weights may differ from the published ones",)
        self._size = int(self.network.input_resolution)
        self.preprocessing = f"bicubic to {self._size}, antialiased, CLIP's mean and deviation, as for CMMD"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        resized = resize_bicubic(images.float(), self._size).expand(-1, 3, -1, -1)
        return self.network(normalize(resized, _MEAN, _DEVIATION)), None


def _read(path: Path, fidelity: Any) -> tuple[dict[str, Tensor], str, str]:
    """Return tensors by name, the SHA-256 of their file, and the name of a published model, else an empty string."""
    content = read_file(path, _EXPECTED)
    sha256 = hashlib.sha256(content).hexdigest()
    published = {each["hash"]: name for name, each in fidelity.MODEL_METADATA.items()}
    if sha256 not in published:
        return *read_weights(path, _EXPECTED), ""
    return dict(load_torchscript(content, "cpu").state_dict()), sha256, published[sha256]


def _find(model: str, fidelity: Any) -> Path:
    name = f"clip-{model}"
    sha256 = fidelity.MODEL_METADATA[name]["hash"]
    file = PublishedFile(
        f"{name}-{sha256}.pt", fidelity.MODEL_URLS[name], sha256, f"OpenAI's CLIP {model} (SHA-256 {sha256[:8]}...)"
    )
    return file.find("extractor 'clip'", "by --extractor clip:weights=FILE or --metric cmmd:weights=FILE")


def _import_fidelity() -> Any:
    """Import torch-fidelity's module of CLIP."""
    try:
        from torch_fidelity import feature_extractor_clip  # type: ignore[import-untyped]
    except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
        raise GanforgeError(
            f"torch-fidelity cannot be imported: {error}",
            "install torch, torchvision and torch-fidelity together, from one package index",
        ) from error
    return feature_extractor_clip
