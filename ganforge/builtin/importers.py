"""Built-in importers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch

from ganforge import CheckpointError, DataSpec, Generator, Imported, Importer, hookimpl
from ganforge.builtin.pytorch_gan import PyTorchGAN, UpsamplingGenerator
from ganforge.builtin.rosinality import Rosinality
from ganforge.builtin.state_dicts import find_shapes, read_tensors
from ganforge.builtin.stylegan2_ada import StyleGAN2ADA


class TorchDCGAN(Importer):
    """DCGAN generators of pytorch/examples: a state dictionary in a file of ``torch.save`` or safetensors.

    Names and shapes of the tensors give the architecture: length of latents, width, resolution and channels.
    """

    def recognizes(self, path: Path) -> bool:
        return bool(_convolutions(find_shapes(path)))

    def read(self, path: Path) -> Imported:
        tensors = read_tensors(path)
        kernels = _convolutions({name: tuple(each.shape) for name, each in tensors.items()})
        if not kernels:
            raise CheckpointError(
                f"{path}: no generator of pytorch/examples' DCGAN", "its tensors are main.0.weight ..."
            )
        resolution, channels = 4 << (len(kernels) - 1), kernels[-1][1]
        weights = {name.replace("main.", "layers.", 1): each for name, each in tensors.items()}
        # The last layer of ganforge's DCGAN has a bias.
        weights.setdefault(f"layers.{3 * len(kernels) - 3}.bias", torch.zeros(channels))
        width = kernels[-1][0]
        return Imported(
            generator="dcgan",
            options={"z_dim": kernels[0][0], "width": width, "max_width": kernels[0][1]},
            data=DataSpec((channels, resolution, resolution)),
            weights=weights,
            settings={"recipe": "dcgan", "discriminator": {"name": "dcgan", "width": width}},
            source={"format": "state dictionary of pytorch/examples' DCGAN"},
        )


def _convolutions(shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the shapes of the kernels of all layers in order; empty for another architecture."""
    if not shapes or not all(re.fullmatch(r"main\.\d+\.\w+", name) for name in shapes):
        return []
    kernels = {int(name.split(".")[1]): shape for name, shape in shapes.items() if shape[3:]}
    ordered = [kernels[index] for index in sorted(kernels)]
    chained = all(first[1] == second[0] for first, second in pairwise(ordered))
    square = all(each[2:] == (4, 4) for each in ordered)
    return ordered if sorted(kernels) == list(range(0, 3 * len(kernels), 3)) and chained and square else []


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    return {"pytorch-gan": UpsamplingGenerator}


@hookimpl
def ganforge_importers() -> dict[str, type[Importer]]:
    return {
        "pytorch-dcgan": TorchDCGAN,
        "pytorch-gan": PyTorchGAN,
        "rosinality": Rosinality,
        "stylegan2-ada": StyleGAN2ADA,
    }
