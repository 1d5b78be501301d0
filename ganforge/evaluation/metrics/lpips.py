"""LPIPS, a perceptual image distance, with torch-fidelity's weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.contract.errors import CheckpointError
from ganforge.evaluation.extractors.published import PublishedFile, find_given, read_weights

VARIABLE = "GANFORGE_LPIPS_WEIGHTS"

VGG16 = PublishedFile(
    "vgg16-397923af.pth",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af",
    "vgg16-397923af.pth (torchvision's VGG16, 528 MiB)",
)
LINEAR = PublishedFile(
    "weights-vgg16-lpips.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-vgg16-lpips.pth",
    "",
    "weights-vgg16-lpips.pth (torch-fidelity's weights of LPIPS's five layers)",
)

MAX_SIZE = 256
"""Maximum height and width; larger images are averaged down, as in StyleGAN, for a VGG trained on 224."""

MIN_SIZE = 16
"""Minimum height and width for four poolings."""

_BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Convolutions of VGG16 by their numbers in torchvision's file; maps are halved between blocks."""

_CHANNELS = (3, 64, 128, 256, 512, 512)
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class Lpips(nn.Module):
    r"""Learned perceptual image patch similarity (Zhang et al. 2018, arXiv:1801.03924, equation 1).

    .. math:: d(x, y) = \sum_l \frac{1}{H_l W_l} \sum_{hw} \sum_c v_{lc} (\hat x^l_{hwc} - \hat y^l_{hwc})^2

    The maps are those of VGG16 after the last ReLU of each of its five blocks; the features of each pixel are
    normalized to length 1. It equals torch-fidelity's ``lpips-vgg16``, but works in any precision.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for numbers, channels_in, channels in zip(_BLOCKS, _CHANNELS, _CHANNELS[1:], strict=False):
            block = nn.Sequential()
            if numbers[0]:
                block.append(nn.MaxPool2d(2))
            for number in numbers:
                size_in = channels_in if number == numbers[0] else channels
                block.extend([nn.Conv2d(size_in, channels, 3, padding=1), nn.ReLU()])
            self.blocks.append(block)
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(1, channels, 1, 1)) for channels in _CHANNELS[1:]])
        self.requires_grad_(False)
        self.eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distances ``[N]`` of images ``[N, 3, H, W]`` in [-1, 1]."""
        distance = first.new_zeros(len(first))
        x, y = self._prepare(first), self._prepare(second)
        for block, weight in zip(self.blocks, self.weights, strict=True):
            x, y = block(x), block(y)
            distance = distance + functional.conv2d((_unit(x) - _unit(y)).square(), weight).mean(dim=(1, 2, 3))
        return distance

    def _prepare(self, images: Tensor) -> Tensor:
        shift, scale = (images.new_tensor(each).view(1, 3, 1, 1) for each in (_SHIFT, _SCALE))
        height, width = images.shape[2:]
        size = min(height, MAX_SIZE), min(width, MAX_SIZE)
        small = images if size == (height, width) else functional.interpolate(images, size, mode="area")
        return (small - shift) / scale


def load_lpips(folder: Path | None) -> tuple[Lpips, dict[str, str]]:
    """Load LPIPS in float32 on the CPU, with the SHA-256 of each weight file by name.

    The files `VGG16` and `LINEAR` are in the folder, or in ``$GANFORGE_LPIPS_WEIGHTS``, or in torch-fidelity's folder,
    to which missing files are downloaded.
    """
    states, hashes = [], {}
    for file in (LINEAR, VGG16):  # the small one first
        path = _find(file, folder)
        state, hashes[file.name] = read_weights(path, file.description)
        states.append((path, file, state))
    network = Lpips()
    wanted = [
        {f"lin{index}.model.1.weight": weight for index, weight in enumerate(network.weights)},
        {
            f"features.{number}.{kind}": getattr(layer, kind)
            for numbers, block in zip(_BLOCKS, network.blocks, strict=True)
            for number, layer in zip(
                numbers, (each for each in block.children() if isinstance(each, nn.Conv2d)), strict=True
            )
            for kind in ("weight", "bias")
        },
    ]
    for (path, file, state), targets in zip(states, wanted, strict=True):
        for name, target in targets.items():
            if name not in state or state[name].shape != target.shape:
                raise CheckpointError(f"{path} holds the weights of another network", f"expected {file.description}")
            target.copy_(state[name])
    return network, hashes


def _find(file: PublishedFile, folder: Path | None) -> Path:
    if given := find_given(folder, "--lpips-weights", VARIABLE):
        path, source = given[0] / file.name, given[1]
        if not path.is_file():
            raise CheckpointError(
                f"{source}: file {path} not found", f"the folder must hold {VGG16.name} and {LINEAR.name}"
            )
        return path
    return file.find(
        "LPIPS", f"by a folder that holds it and {(VGG16 if file is LINEAR else LINEAR).name}: --lpips-weights FOLDER"
    )


def _unit(maps: Tensor) -> Tensor:
    length = maps.square().sum(dim=1, keepdim=True).sqrt()
    return maps / (length + 1e-10)
