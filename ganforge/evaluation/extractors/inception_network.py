"""Inception v3 of the FID papers, optimized for CPUs.

It is torch-fidelity's ``inception-v3-compat`` with equal names of weights; features and logits are equal to rounding,
4e-7 of their norm. Optimizations:

- A batch is computed a few images at a time, so that activations stay in the CPU cache.
- Batch norms are folded into convolutions, in float64.
- Convolution, bias and ReLU are one oneDNN call with prepacked weights; see `quicken`.
- A 1x1 convolution precedes the average pooling that it commutes with, for fewer channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganforge.evaluation.extractors.pixels import resize, resize_bicubic

_SIDE = 299


class Conv(nn.Module):
    """Convolution with folded batch norm, and a ReLU; it takes its tensors out of the state."""

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
        self.fused = False  # call oneDNN directly; set by `quicken`
        self.packed: Tensor | None = None  # the weight in oneDNN's order

    def forward(self, x: Tensor) -> Tensor:
        differentiated = x.requires_grad and torch.is_grad_enabled()
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not (self.fused and plain) or differentiated:
            x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
            return x.relu_() if self.relu else x
        where = (self.padding, self.stride, [1, 1], 1)
        if self.packed is None:  # depends on the size of the input; a third faster
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *where, list(x.shape))
        after = "relu" if self.relu else "none"
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.packed, self.bias, *where, after, [], "")
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Drop the packed weight, which cannot be copied."""
        return {**self.__dict__, "packed": None}


class Branches(nn.ModuleList):
    """Modules of one input, whose outputs are concatenated along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], 1)


class Inception(nn.Module):
    """Network from images to the features of FID and the logits of the inception score.

    With `clean`, images are resized as in clean-fid.
    """

    fc: Tensor

    def __init__(self, state: Mapping[str, Tensor], *, clean: bool = False) -> None:
        super().__init__()
        self.clean = clean
        rest = {name: tensor for name, tensor in state.items() if not name.endswith(".num_batches_tracked")}
        try:
            self.layers = _layers(rest)
            self.register_buffer("fc", rest.pop("fc.weight").float())
            rest.pop("fc.bias")  # unused by the inception score
            if rest:
                raise ValueError(f"unknown weights: {', '.join(sorted(rest))}")
            self.eval().to(memory_format=torch.channels_last)
            self(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
        except KeyError as error:
            raise ValueError(f"there is no weight {error}") from error
        except RuntimeError as error:
            raise ValueError(f"the weights do not fit together: {error}") from error

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features ``[N, 2048]`` and logits without bias ``[N, 1008]`` of images uint8 ``[N, 3, H, W]``."""
        chunk = _chunk() if images.device.type == "cpu" else max(len(images), 1)
        features = torch.cat([self.features(part.to(self.fc.dtype)) for part in torch.split(images, chunk)])
        return features, features @ self.fc.T

    def features(self, pixels: Tensor) -> Tensor:
        """Return features ``[N, 2048]`` of float pixels ``[N, 3, H, W]`` in [0, 255]; differentiable."""
        resized = resize_bicubic(pixels, _SIDE).clamp(0, 255) if self.clean else resize(pixels, _SIDE)
        x = (resized - 128) / 128
        last: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return last.mean((2, 3))


def quicken(network: Inception) -> bool:
    """Use fused oneDNN convolutions on the CPU; return False if this build of torch does not support them.

    Results are equal to rounding; without fusion the network is a tenth slower on two cores.
    """
    convolutions = [layer for layer in network.modules() if isinstance(layer, Conv)]
    for layer in convolutions:
        layer.fused = True
    try:
        network(torch.zeros(_chunk(), 3, 1, 1, dtype=torch.uint8))
    except (AttributeError, RuntimeError):  # this build of torch lacks the operators
        for layer in convolutions:
            layer.fused = False
        return False
    return True


def _chunk() -> int:
    """Return the number of images per pass on a CPU: 64 would need 350 MB for one early activation."""
    return 2 * torch.get_num_threads()


def _layers(state: dict[str, Tensor]) -> nn.Sequential:
    """Build all layers up to the last pooling; each removes its weights from the state."""

    def step(block: str, text: str, stride: int = 1) -> nn.Module:
        """Build one convolution, or parallel ones separated by a bar, without padding for a stride of 2."""
        convolutions = [Conv(state, f"{block}{name}", stride=stride, padded=stride == 1) for name in text.split("|")]
        return convolutions[0] if len(convolutions) == 1 else Branches(convolutions)

    def mixed(name: str, *branches: str, pool: nn.Module | None = None, stride: int = 1) -> Branches:
        """Build branches of convolutions, the last of each with the stride, and a pooling branch."""
        block = f"{name}.branch"
        chains = []
        for *first, last in map(str.split, branches):
            chains.append(nn.Sequential(*(step(block, text) for text in first), step(block, last, stride)))
        if pool is None:  # 3x3 averages after the 1x1 convolution
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
