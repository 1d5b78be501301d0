"""Generators of the repository PyTorch-GAN: fully connected and convolutional ones."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ganforge import CheckpointError, DataSpec, Generator, Imported, Importer, RepeatPixels
from ganforge.builtin.state_dicts import find_shapes, read_tensors, reading

_EPS = 0.8
"""Number that batch norm adds to the variance in all of its networks."""


class UpsamplingGenerator(Generator):
    """DCGAN of the repository PyTorch-GAN: a dense layer to maps, upsampling by repeated pixels, convolutions, tanh.

    Args:
        data: Shape of an image, with edges that are multiples of 4.
        z_dim: Length of a latent vector.
        width: Channels of the maps of full size; the smaller ones have twice as many.
        first_norm: Batch norm before the first doubling; that repository's LSGAN and EBGAN have none.
    """

    def __init__(self, data: DataSpec, *, z_dim: int = 100, width: int = 64, first_norm: bool = True) -> None:
        super().__init__()
        for name, value in (("z_dim", z_dim), ("width", width)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1, such as 64")
        if not data.is_image:
            raise ValueError("needs images; use --arch mlp")
        colors, height, width_of_image = data.shape
        if height % 4 or width_of_image % 4:
            near = max(4, round(max(height, width_of_image) / 4) * 4)
            raise ValueError(
                f"images are {width_of_image}x{height}, but both edges must be multiples of 4; use --resolution {near}"
            )
        self.z_dim = z_dim
        self.size = [2 * width, height // 4, width_of_image // 4]
        self.l1 = nn.Sequential(nn.Linear(z_dim, math.prod(self.size)))
        self.conv_blocks = nn.Sequential(
            nn.BatchNorm2d(2 * width) if first_norm else nn.Identity(),
            RepeatPixels(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width, _EPS),
            nn.LeakyReLU(0.2),
            RepeatPixels(),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width, _EPS),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, colors, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        maps = self.l1(z).view([-1] + self.size)  # noqa: RUF005 - TorchScript has no unpacking
        images: Tensor = self.conv_blocks(maps)
        return images


class PyTorchGAN(Importer):
    """Generators of the repository PyTorch-GAN, as a state dictionary: fully connected and convolutional ones.

    Names and shapes of the tensors give the architecture. The batch norm of fully connected ones is folded into the
    layers before it.
    """

    def recognizes(self, path: Path) -> bool:
        shapes = find_shapes(path)
        return _is_connected(shapes) or _is_convolutional(shapes)

    def read(self, path: Path) -> Imported:
        tensors = read_tensors(path)
        if without_norm := "conv_blocks.9.weight" not in tensors:
            tensors = {re.sub(r"(?<=^conv_blocks\.)\d+", _next, name): each for name, each in tensors.items()}
        shapes = {name: tuple(each.shape) for name, each in tensors.items()}
        if _is_connected(shapes):
            with reading(path):
                return _read_connected(tensors)
        if not _is_convolutional(shapes):
            raise CheckpointError(
                f"{path}: no generator of PyTorch-GAN", "its tensors are l1.0.weight or model.0.weight"
            )
        width, last = tensors["conv_blocks.6.weight"].shape[0], tensors["conv_blocks.9.weight"]
        rows, z_dim = tensors["l1.0.weight"].shape
        edge = math.isqrt(rows // (2 * width))
        if rows != 2 * width * edge**2:
            raise CheckpointError(
                f"{path}: l1.0.weight has {rows} rows, which are no square maps of {2 * width} channels"
            )
        return Imported(
            generator="pytorch-gan",
            options={"z_dim": z_dim, "width": width, "first_norm": not without_norm},
            data=DataSpec((last.shape[0], 4 * edge, 4 * edge)),
            weights=tensors,
            settings={"recipe": "dcgan"},
            source={"format": "state dictionary of PyTorch-GAN's convolutional generators"},
        )


def _is_connected(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    return "model.0.weight" in shapes and all(re.fullmatch(r"model\.\d+\.\w+", name) for name in shapes)


def _is_convolutional(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    found = {name for name, shape in shapes.items() if len(shape) in (2, 4)}
    forms = [{"l1.0.weight", *(f"conv_blocks.{place}.weight" for place in form)} for form in ((2, 6, 9), (1, 5, 8))]
    return found in forms and all(re.fullmatch(r"(l1|conv_blocks)\.\d+\.\w+", name) for name in shapes)


def _next(number: re.Match[str]) -> str:
    return str(int(number[0]) + 1)


def _read_connected(tensors: Mapping[str, Tensor]) -> Imported:
    places = sorted({int(name.split(".")[1]) for name in tensors if tensors[name].dim() == 2})
    weights: dict[str, Tensor] = {}
    for index, place in enumerate(places):
        weight, bias = tensors[f"model.{place}.weight"].double(), tensors.get(f"model.{place}.bias")
        if bias is None or (index and weight.shape[1] != weights[f"layers.{2 * index - 2}.weight"].shape[0]):
            raise CheckpointError(f"model.{place} does not follow the layer before it")
        bias = bias.double()
        norm = {
            name: tensors.get(f"model.{place + 1}.{name}") for name in ("weight", "bias", "running_mean", "running_var")
        }
        scale, shift, mean, variance = (None if each is None else each.double() for each in norm.values())
        if scale is not None and shift is not None and mean is not None and variance is not None and scale.dim() == 1:
            scale = scale * (variance + _EPS).rsqrt()
            weight, bias = weight * scale[:, None], (bias - mean) * scale + shift
        weights |= {f"layers.{2 * index}.weight": weight.float(), f"layers.{2 * index}.bias": bias.float()}
    sizes = [each.shape for name, each in weights.items() if name.endswith("weight")]
    numbers = sizes[-1][0]
    edges = {colors: math.isqrt(numbers // colors) for colors in (1, 3)}
    shapes = [(colors, edge, edge) for colors, edge in edges.items() if colors * edge**2 == numbers]
    if len(sizes) < 2 or not shapes:
        raise CheckpointError(f"{numbers} outputs are no square image of 1 or 3 channels")
    return Imported(
        generator="mlp",
        options={"z_dim": sizes[0][1], "hidden": tuple(size[0] for size in sizes[:-1])},
        data=DataSpec(shapes[0]),
        weights=weights,
        settings={"recipe": "mlp"},
        source={"format": "state dictionary of PyTorch-GAN's fully connected generators"},
        notes=("batch norm is folded into the layers before it",),
    )
