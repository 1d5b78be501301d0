"""DINOv2 as a feature extractor, with the preprocessing of FD-DINOv2."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError
from ganforge.contract.extractor import Extractor
from ganforge.evaluation.extractors.pixels import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    normalize,
    require_photographs,
    resize_8bit,
)
from ganforge.evaluation.extractors.published import PublishedFile, read_weights

_URL = "https://dl.fbaipublicfiles.com/dinov2"
_NAMES = {(384, 12): "vits14", (768, 12): "vitb14", (1024, 24): "vitl14", (1536, 40): "vitg14"}
"""Names of the published networks by features and blocks."""


class DinoV2Extractor(Extractor):
    """DINOv2, trained on photographs without labels (Oquab et al. 2023, arXiv:2304.07193).

    Images are resized and normalized as for FD-DINOv2 (Stein et al. 2023, arXiv:2306.04675).

    Features are the class token after the last norm, D = 384 to 1536; there are no logits. The authors' file is read as
    tensors, without torch.hub's code. They publish no SHA-256, so the label includes that of the file.

    Args:
        data: Images of 1 channel, which is repeated, or of 3.
        size: Published size, if no file is given.
        weights: The authors' file, or its tensors as ``.safetensors``; empty to download it to torch.hub's folder.
    """

    preprocessing = "bicubic to 224, antialiased, 8 bits, ImageNet mean and deviation, as for FD-DINOv2"

    def __init__(self, data: DataSpec, *, size: Literal["s", "b", "l", "g"] = "b", weights: str = "") -> None:
        super().__init__()
        require_photographs(data, "dinov2")
        path = Path(weights).expanduser() if weights else _find(size)
        expected = "tensors of DINOv2 without registers by name"
        state, self.weights_sha256 = read_weights(path, expected)
        try:
            self.network = DinoV2(state)
        except Exception as error:  # shapes come from the file, so other weights fail in any way
            raise CheckpointError(f"{path}: holds weights of another network", f"expected {expected}") from error
        name = _NAMES.get((self.network.norm.normalized_shape[0], len(self.network.blocks)))
        self.label = "-".join(filter(None, ("dinov2", name, self.weights_sha256[:8])))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        resized = resize_8bit(images.float(), 224).expand(-1, 3, -1, -1)
        return self.network(normalize(resized, IMAGENET_MEAN, IMAGENET_DEVIATION)), None


class DinoV2(nn.Module):
    """Vision transformer of DINOv2, without registers; the tensors by the authors' names determine all sizes."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        given = {name: each.float() for name, each in state.items() if name != "mask_token"}  # only for training
        features, channels, patch, _ = given["patch_embed.proj.weight"].shape
        last = given.get("blocks.0.mlp.fc2.weight", given.get("blocks.0.mlp.w3.weight"))
        assert last is not None
        with torch.device("meta"):
            self.cls_token = nn.Parameter(torch.empty(1, 1, features))
            self.pos_embed = nn.Parameter(torch.empty_like(given["pos_embed"], device="meta"))
            self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(channels, features, patch, stride=patch)})
            count = len({name.split(".")[1] for name in given if name.startswith("blocks.")})
            gated = "blocks.0.mlp.w3.weight" in given
            self.blocks = nn.ModuleList(_Block(features, last.shape[1], gated) for _ in range(count))
            self.norm = nn.LayerNorm(features, eps=1e-6)
        self.load_state_dict(given, assign=True)
        self.requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features ``[N, D]`` of normalized pixels ``[N, 3, H, W]``; partial patches are ignored."""
        patches = self.patch_embed["proj"](pixels)
        tokens = patches.flatten(2).transpose(1, 2) + self._places(patches.shape[2], patches.shape[3])
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        features: Tensor = self.norm(tokens[:, 0])
        return features

    def _places(self, rows: int, columns: int) -> Tensor:
        """Return position embeddings ``[1, rows * columns, D]``, a tenth of a patch more, as the authors do."""
        edge = round((self.pos_embed.shape[1] - 1) ** 0.5)
        grid = self.pos_embed[:, 1:].reshape(1, edge, edge, -1).permute(0, 3, 1, 2)
        if (rows, columns) != (edge, edge):
            factors = ((rows + 0.1) / edge, (columns + 0.1) / edge)
            grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic")
        places: Tensor = grid.flatten(2).transpose(1, 2)
        return places


class _Block(nn.Module):
    """Transformer block with heads of 64 features and the authors' parameter names."""

    def __init__(self, features: int, hidden: int, gated: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(features, eps=1e-6) for _ in range(2))
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": nn.Parameter(torch.empty(features))}) for _ in range(2))
        self.attn = nn.ModuleDict({"qkv": nn.Linear(features, 3 * features), "proj": nn.Linear(features, features)})
        names, width = (("w12", "w3"), 2 * hidden) if gated else (("fc1", "fc2"), hidden)
        layers = (nn.Linear(features, width), nn.Linear(hidden, features))
        self.mlp = nn.ModuleDict(dict(zip(names, layers, strict=True)))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1["gamma"] * self._attend(self.norm1(tokens))
        result: Tensor = tokens + self.ls2["gamma"] * self._transform(self.norm2(tokens))
        return result

    def _attend(self, tokens: Tensor) -> Tensor:
        count, length, _ = tokens.shape
        parts = self.attn["qkv"](tokens).view(count, length, 3, -1, 64).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts)
        result: Tensor = self.attn["proj"](mixed.transpose(1, 2).flatten(2))
        return result

    def _transform(self, tokens: Tensor) -> Tensor:
        first, second = self.mlp.values()
        inner = first(tokens)
        if "w12" in self.mlp:
            gate, value = inner.chunk(2, dim=2)
            inner = functional.silu(gate) * value
        else:
            inner = functional.gelu(inner)
        result: Tensor = second(inner)
        return result


def _find(size: str) -> Path:
    name = f"dinov2_vit{size}14"
    file = PublishedFile(
        f"{name}_pretrain.pth", f"{_URL}/{name}/{name}_pretrain.pth", "", f"Meta's {name}_pretrain.pth"
    )
    return file.find("extractor 'dinov2'", "by --extractor dinov2:weights=FILE or --metric fd-dinov2:weights=FILE")
