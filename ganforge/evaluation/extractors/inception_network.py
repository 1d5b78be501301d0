"""Inception v3 of the FID papers, arranged to be quick on a CPU.

It is the network of torch-fidelity's ``inception-v3-compat``, with the same weights under the same names; features and
logits are equal to rounding, 4e-7 of their norm. Nothing is compiled. What makes it quick:

- A batch is computed a few images at a time, so that activations stay in the cache.
- Each batch norm is folded into its convolution, in float64.
- Convolution, bias and ReLU are one call of oneDNN, with weights in the order that oneDNN wants; see `quicken`.
- A 1x1 convolution comes before the average pooling that it commutes with, where there are fewer channels to pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganforge.evaluation.extractors.pixels import resize

_SIDE = 299
"""Height and width of what the first layer is given."""


class Conv(nn.Module):
    """A convolution and its batch norm as one convolution, then a ReLU.

    Args:
        state: Tensors of the network by name; those of this layer are taken out.
        name: Of the layer.
        stride: Of the convolution.
        padded: Whether there are zeros around the input, so that a stride of 1 keeps its size.
        relu: Whether there is a ReLU.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, state: dict[str, Tensor], name: str, *, stride: int = 1, padded: bool = True, relu: bool = True
    ) -> None:
        super().__init__()
        weight, scale, shift, mean, variance = (
            state.pop(f"{name}.{key}").double()
            for key in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
        )
        scale = scale / (variance + 0.001).sqrt()
        self.register_buffer("weight", (weight * scale.view(-1, 1, 1, 1)).float())
        self.register_buffer("bias", (shift - mean * scale).float())
        self.stride = [stride, stride]
        self.padding = [size // 2 if padded else 0 for size in weight.shape[2:]]
        self.relu = relu
        self.fused = False  # whether to call oneDNN directly, where that can be done; set by `quicken`
        self.packed: Tensor | None = None  # the weight in the order that oneDNN wants

    def forward(self, x: Tensor) -> Tensor:
        """What the layer makes of ``[N, C, H, W]``."""
        differentiated = x.requires_grad and torch.is_grad_enabled()
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not (self.fused and plain) or differentiated:
            x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
            return x.relu_() if self.relu else x
        where = (self.padding, self.stride, [1, 1], 1)
        if self.packed is None:  # the order depends on the size of the input; without it, a third slower than conv2d
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *where, list(x.shape))
        after = "relu" if self.relu else "none"
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.packed, self.bias, *where, after, [], "")
        return found

    def __getstate__(self) -> dict[str, Any]:
        """For a copy, which packs its weight anew: a packed one cannot be copied."""
        return {**self.__dict__, "packed": None}


class Branches(nn.ModuleList):
    """Modules that read the same input; their outputs are joined along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """The outputs for ``[N, C, H, W]``, in the order of the modules."""
        return torch.cat([branch(x) for branch in self], 1)


class Inception(nn.Module):
    """From images to the features of FID and the logits of the Inception score.

    Args:
        state: The weights by their names in torch-fidelity.

    Raises:
        ValueError: They are the weights of another network.
    """

    fc: Tensor

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        rest = {name: tensor for name, tensor in state.items() if not name.endswith(".num_batches_tracked")}
        try:
            self.layers = _layers(rest)
            self.register_buffer("fc", rest.pop("fc.weight").float())
            rest.pop("fc.bias")  # the Inception score leaves it out
            if rest:
                raise ValueError(f"unknown weights: {', '.join(sorted(rest))}")
            self.eval().to(memory_format=torch.channels_last)
            self(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
        except KeyError as error:
            raise ValueError(f"there is no weight {error}") from error
        except RuntimeError as error:
            raise ValueError(f"the weights do not fit together: {error}") from error

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, 2048]`` and logits without bias ``[N, 1008]`` of images uint8 ``[N, 3, H, W]``."""
        chunk = _chunk() if images.device.type == "cpu" else max(len(images), 1)
        features = torch.cat([self.features(part.to(self.fc.dtype)) for part in torch.split(images, chunk)])
        return features, features @ self.fc.T

    def features(self, pixels: Tensor) -> Tensor:
        """Features ``[N, 2048]`` of pixels ``[N, 3, H, W]`` in [0, 255], whole numbers or not; differentiable."""
        x = (resize(pixels, _SIDE) - 128) / 128
        last: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return last.mean((2, 3))


def quicken(network: Inception) -> bool:
    """Let a network on the CPU use oneDNN directly; what it gives stays the same to rounding.

    Returns:
        Whether it does. If this build of torch cannot, the network works as it did, a tenth slower on two cores.
    """
    convolutions = [layer for layer in network.modules() if isinstance(layer, Conv)]
    for layer in convolutions:
        layer.fused = True
    try:
        network(torch.zeros(_chunk(), 3, 1, 1, dtype=torch.uint8))
    except (AttributeError, RuntimeError):  # the operators are missing, or take other arguments
        for layer in convolutions:
            layer.fused = False
        return False
    return True


def _chunk() -> int:
    """How many images to compute at once on a CPU: of 64, one activation of the first layers would fill 350 MB."""
    return 2 * torch.get_num_threads()


def _layers(state: dict[str, Tensor]) -> nn.Sequential:
    """All layers up to the last pooling; each takes its weights out of the state."""

    def step(block: str, text: str, stride: int = 1) -> nn.Module:
        """One convolution, or with a bar several that read the same input. With a stride of 2 there is no padding."""
        convolutions = [Conv(state, f"{block}{name}", stride=stride, padded=stride == 1) for name in text.split("|")]
        return convolutions[0] if len(convolutions) == 1 else Branches(convolutions)

    def mixed(name: str, *branches: str, pool: nn.Module | None = None, stride: int = 1) -> Branches:
        """Branches of convolutions, the last of each with the stride, and a pooling."""
        block = f"{name}.branch"
        chains = []
        for *first, last in map(str.split, branches):
            chains.append(nn.Sequential(*(step(block, text) for text in first), step(block, last, stride)))
        if pool is None:  # averages of three by three, before which the 1x1 convolution comes
            before = Conv(state, f"{block}_pool", relu=False)
            pool = nn.Sequential(before, nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.ReLU(inplace=True))
        return Branches([*chains, pool])

    halve = nn.MaxPool2d(3, 2)
    double = "3x3dbl_1 3x3dbl_2 3x3dbl_3"
    low = ("1x1", "5x5_1 5x5_2", double)
    middle = ("1x1", "7x7_1 7x7_2 7x7_3", "7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5")
    high = ("1x1", "3x3_1 3x3_2a|3x3_2b", "3x3dbl_1 3x3dbl_2 3x3dbl_3a|3x3dbl_3b")
    return nn.Sequential(
        Conv(state, "Conv2d_1a_3x3", stride=2, padded=False),
        Conv(state, "Conv2d_2a_3x3", padded=False),
        Conv(state, "Conv2d_2b_3x3"),
        halve,
        Conv(state, "Conv2d_3b_1x1"),
        Conv(state, "Conv2d_4a_3x3", padded=False),
        halve,
        *(mixed(f"Mixed_5{letter}", *low) for letter in "bcd"),
        mixed("Mixed_6a", "3x3", double, pool=halve, stride=2),
        *(mixed(f"Mixed_6{letter}", *middle) for letter in "bcde"),
        mixed("Mixed_7a", "3x3_1 3x3_2", "7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4", pool=halve, stride=2),
        mixed("Mixed_7b", *high),
        mixed("Mixed_7c", *high, pool=nn.Sequential(nn.MaxPool2d(3, 1, 1), step("Mixed_7c.branch", "_pool"))),
    )
