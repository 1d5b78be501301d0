"""Classification networks of torchvision as feature extractors, with weights from a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError, OptionError, nearest
from ganforge.contract.extractor import Extractor
from ganforge.evaluation.extractors.pixels import IMAGENET_DEVIATION, IMAGENET_MEAN, normalize, require_photographs
from ganforge.evaluation.extractors.published import read_weights

_SHIFTED = ("googlenet", "inception_v3")
"""Networks with TensorFlow weights, which need ``transform_input`` for pixels in [-1, 1]."""


class TorchvisionExtractor(Extractor):
    """Classification network of torchvision, such as a ResNet.

    Features are the output of a layer; of maps ``[N, D, h, w]``, the spatial means. Logits are those of the network.

    Args:
        data: Images of 1 channel, which is repeated, or of 3.
        model: Name in ``torchvision.models``.
        weights: ``.safetensors`` or ``.pth`` file of tensors by name.
        layer: Name of the layer, such as ``layer3``; empty for the input of the last linear layer.
        size: Height and width of the resized images; some networks require a certain size.
    """

    def __init__(
        self, data: DataSpec, *, model: str = "resnet50", weights: str = "", layer: str = "", size: int = 224
    ) -> None:
        super().__init__()
        require_photographs(data, "torchvision")
        if size < 1:
            raise ValueError(f"size is {size}, and must be 1 or more")
        network = _build(model)
        if not weights:
            raise OptionError(
                "extractor 'torchvision' needs weights",
                f"download {_published(model)}, and use --extractor torchvision:model={model},weights=FILE",
            )
        expected = f"tensors of torchvision's {model} by name"
        state, self.weights_sha256 = read_weights(Path(weights).expanduser(), expected)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(f"{weights}: holds weights of another network", f"expected {expected}") from error
        default, self._network = _open_layers(network.eval(), model, layer)
        named = f"-{layer}" if layer not in ("", default) else ""
        self.label = f"{model}{named}-{self.weights_sha256[:8]}"
        self.preprocessing = f"bilinear to {size}, antialiased, ImageNet mean and deviation"
        self._size = size
        self._try(model, layer or default)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        found = self._look(images)
        features: Tensor = found["features"]
        return features.mean(dim=(2, 3)) if features.dim() == 4 else features, found["logits"]

    def _look(self, images: Tensor) -> dict[str, Tensor]:
        resized = functional.interpolate(
            images.float(), size=(self._size, self._size), mode="bilinear", antialias=True, align_corners=False
        )
        found: dict[str, Tensor] = self._network(
            normalize(resized.expand(-1, 3, -1, -1), IMAGENET_MEAN, IMAGENET_DEVIATION)
        )
        return found

    def _try(self, model: str, layer: str) -> None:
        """Raise OptionError if size or layer is unsupported."""
        try:
            with torch.no_grad():
                found = self._look(torch.zeros(1, 3, self._size, self._size, dtype=torch.uint8))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise OptionError(f"torchvision's {model} takes no images of size={self._size}: {reason}") from error
        shape = list(found["features"].shape)
        # Images are square, so other maps have channels in the last dimensions.
        if len(shape) != 2 and not (len(shape) == 4 and shape[2] == shape[3]):
            raise OptionError(
                f"layer '{layer}' of {model} gives {shape} for an image", "name one that gives [N, D] or [N, D, h, w]"
            )


def _build(model: str) -> nn.Module:
    import torchvision  # type: ignore[import-untyped]

    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise OptionError(f"torchvision has no classification network '{model}'", nearest(model, known))
    settings: dict[str, Any] = {"transform_input": True, "init_weights": False} if model in _SHIFTED else {}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: nn.Module = torchvision.models.get_model(model, weights=None, **settings)
    return network.requires_grad_(False)


def _published(model: str) -> str:
    """Return the address of torchvision's weights."""
    import torchvision

    return str(torchvision.models.get_model_weights(model).DEFAULT.url)


def _open_layers(network: nn.Module, model: str, layer: str) -> tuple[str, nn.Module]:
    """Return the default layer, and a network that returns ``features`` and ``logits``."""
    from torchvision.models.feature_extraction import (  # type: ignore[import-untyped]
        create_feature_extractor,
        get_graph_node_names,
    )

    names = get_graph_node_names(network, suppress_diff_warning=True)[1][1:]  # the first is the input
    modules = dict(network.named_modules())
    ends = [index for index, name in enumerate(names) if isinstance(modules.get(name), nn.Linear)]
    default = names[ends[-1] - 1] if ends else ""
    wanted = layer or default
    if not wanted:
        raise OptionError(f"torchvision's {model} ends in no linear layer", f"name one by layer=, such as {names[-2]}")
    # The name of a module means its last operation.
    known = {name.rsplit(".", depth)[0] for name in names for depth in range(name.count(".") + 1)}
    if wanted not in known:
        raise OptionError(f"torchvision's {model} has no layer '{wanted}'", nearest(wanted, known))
    nodes = {wanted: "features", names[-1]: "logits"}
    if wanted == names[-1]:
        raise OptionError(f"layer '{wanted}' of {model} gives its logits", "name an earlier one")
    return default, create_feature_extractor(network, return_nodes=nodes, suppress_diff_warning=True)
