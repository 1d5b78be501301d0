"""Frozen classification network of torchvision that returns maps of four scales."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ganforge import CheckpointError, OptionError, nearest, read_state_dict
from torch import Tensor, nn
from torch.nn.functional import interpolate

STRIDES = (4, 8, 16, 32)
"""Strides of the maps."""

_EDGE = 64
"""Edge of the image by which layers are found: at least 2 pixels at the largest stride."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Statistics of ImageNet, by which torchvision's networks expect their input to be standardized."""


class FeatureNetwork(nn.Module):
    """Maps of images at strides of 4, 8, 16 and 32, by the last layers of each size.

    Args:
        name: Classification network of torchvision.
        weights: Safetensors file of its tensors by torchvision's names.
        size: Shorter edge to which images are resized; None for their own.

    Attributes:
        weights_sha256: SHA-256 of the file.
        channels: Channels of the maps, from the largest.

    Raises:
        OptionError: Unknown network, one without maps of these scales, or no file.
        CheckpointError: Missing or damaged file, or weights of another network.
    """

    def __init__(self, name: str, weights: str, size: int | None) -> None:
        super().__init__()
        network = _build(name)
        if not weights:
            raise OptionError(
                f"discriminator 'projected' needs the weights of {name}",
                "--set discriminator.weights=FILE.safetensors; the README of ganforge-projected shows how to write it",
            )
        path = Path(weights).expanduser()
        state = read_state_dict(path)
        layers, self.channels = _find_layers(network, name)
        self.network = _cut(network, layers)
        _load(self.network, {*network.state_dict()}, state, f"{path}: holds no weights of torchvision's {name}")
        with path.open("rb") as file:
            self.weights_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.size = size
        mean, deviation = (torch.tensor(each)[:, None, None] for each in (_MEAN, _DEVIATION))
        self.mean, self.deviation = nn.Buffer(mean), nn.Buffer(deviation)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return four maps ``[N, C, h, w]``, the largest first, of images ``[N, 1 or 3, H, W]`` in [-1, 1]."""
        edge = min(images.shape[2:])
        if self.size not in (None, edge):
            height, width = (max(1, round(each * self.size / edge)) for each in images.shape[2:])
            images = interpolate(images, (height, width), mode="bilinear", align_corners=False)
        maps: dict[str, Tensor] = self.network((images / 2 + 0.5 - self.mean) / self.deviation)
        return [maps[str(stride)] for stride in STRIDES]


def _build(name: str) -> nn.Module:
    """Return a network with random weights in evaluation mode; the state of torch's generator is unchanged."""
    import torchvision  # type: ignore[import-untyped]

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise OptionError(f"torchvision has no classification network '{name}'", nearest(name, known))
    settings: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: nn.Module = torchvision.models.get_model(name, weights=None, **settings)
    return network.eval()


def _find_layers(network: nn.Module, name: str) -> tuple[dict[int, str], list[int]]:
    """Return the name of the last layer of each stride, and their channels; a layer that runs twice has no place."""
    outputs: dict[str, list[torch.Size]] = {}

    def record(layer: str, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] == output.shape[3]:
            outputs.setdefault(layer, []).append(output.shape)

    handles = [
        module.register_forward_hook(lambda _, __, output, layer=layer: record(layer, output))
        for layer, module in network.named_modules()
        if layer and layer.count(".") <= 1
    ]
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, _EDGE, _EDGE))
    except (RuntimeError, AssertionError, ValueError):
        outputs.clear()  # some take images of one size only
    for handle in handles:
        handle.remove()
    found = {shapes[0][2]: (layer, shapes[0][1]) for layer, shapes in outputs.items() if len(shapes) == 1}
    sizes = [_EDGE // stride for stride in STRIDES]
    if not {*sizes} <= found.keys():
        raise OptionError(
            f"torchvision's {name} has no maps at strides of 4, 8, 16 and 32",
            "choose a convolutional network, such as resnet18 or efficientnet_b0",
        )
    layers = {stride: found[size][0] for stride, size in zip(STRIDES, sizes, strict=True)}
    return layers, [found[size][1] for size in sizes]


def _cut(network: nn.Module, layers: Mapping[int, str]) -> nn.Module:
    """Return the network up to its last layer of `layers`, with the maps by stride as output."""
    from torchvision.models.feature_extraction import create_feature_extractor  # type: ignore[import-untyped]

    cut: nn.Module = create_feature_extractor(
        network, {layer: str(stride) for stride, layer in layers.items()}, suppress_diff_warning=True
    )
    return cut


def _load(network: nn.Module, known: set[str], state: Mapping[str, Tensor], fault: str) -> None:
    """Load weights of which `known` may be present; the classifier's may have any shape."""
    own = network.state_dict()
    for name in sorted(own.keys() | state.keys()):
        reason = ""
        if name not in state:
            reason = "is missing"
        elif name not in known:
            reason = "is unknown"
        elif name in own and state[name].shape != own[name].shape:
            reason = f"has the shape {list(state[name].shape)}, not {list(own[name].shape)}"
        elif not state[name].isfinite().all():
            reason = "is not finite"
        if reason:
            raise CheckpointError(
                f"{fault}: '{name}' {reason}", "expected all tensors of this network, as torchvision names them"
            )
    network.load_state_dict({name: state[name] for name in own})
