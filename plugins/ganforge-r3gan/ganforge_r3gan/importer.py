"""Importer of R3GAN snapshots: pickles with the modules ``G``, ``D`` and ``G_ema``.

Names and shapes of the tensors give the architecture. No class or function of a file is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ganforge import (
    CheckpointError,
    DataSpec,
    GanforgeError,
    Imported,
    Importer,
    StoredTensor,
    module_tensors,
    read_pickle,
)
from torch import Tensor

from ganforge_r3gan.networks import FILTER

_PENALTY = {32: 0.005, 64: 0.2, 256: 15.0}
"""Weights of both penalties at the end of the paper's schedules, by resolution."""


class R3GANImporter(Importer):
    """Snapshots of R3GAN (Huang 2024, arXiv:2501.05441): a pickle with ``G_ema``; ``G`` and ``D`` for training on."""

    def recognizes(self, path: Path) -> bool:
        try:
            content = read_pickle(path).content
            return isinstance(content, dict) and "MainLayers.0.Layers.0.Basis" in _Tensors(content, "G_ema")
        except CheckpointError:
            return False

    def read(self, path: Path) -> Imported:
        content = read_pickle(path).content
        try:
            return _convert(content if isinstance(content, dict) else {})
        except GanforgeError as error:
            raise CheckpointError(f"{path}: {error.message}", error.hint) from None


class _Tensors:
    """Tensors of a network in a file, by the names of the published networks without their wrappers."""

    def __init__(self, content: Mapping[Any, Any], name: str) -> None:
        self.name = name
        self._stored: dict[str, StoredTensor] = {
            key.removeprefix("Model.").replace(".Layer.", "."): each
            for key, each in module_tensors(content.get(name)).items()
        }
        self._unused = {*self._stored}

    def __contains__(self, key: str) -> bool:
        return key in self._stored

    def count(self, before: str, after: str, first: int = 0) -> int:
        """Return how many tensors there are whose names differ in a number between two texts."""
        number = first
        while f"{before}{number}{after}" in self:
            number += 1
        return number - first

    def shape(self, key: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a tensor without empty dimensions."""
        shape = self._stored[key].shape if key in self else ()
        if len(shape) != dimensions or 0 in shape:
            raise CheckpointError(f"{self.name} has no tensor '{key}' with {dimensions} dimensions")
        return shape

    def get(self, key: str, *expected: int) -> Tensor:
        """Return a tensor of a shape, in float32."""
        shape = self.shape(key, len(expected))
        if shape != expected:
            raise CheckpointError(f"{self.name}.{key} has shape {shape}, but {expected} fits the rest")
        self._unused.discard(key)
        return self._stored[key].load().float()

    def require_all_used(self) -> None:
        """Raise CheckpointError if the network has more layers than R3GAN."""
        if self._unused:
            raise CheckpointError(f"{self.name} has '{min(self._unused)[:80]}', which R3GAN does not have")


def _convert(content: Mapping[Any, Any]) -> Imported:
    ema = _Tensors(content, "G_ema")
    colors = ema.shape("AggregationLayer.weight", 4)[0]
    channels, options = _describe(ema, conditioning="input", first=1)
    resolution, classes = 2 << len(channels), _embedding(ema)[1]
    data = DataSpec((colors, resolution, resolution), tuple(map(str, range(classes))))
    options["z_dim"] = ema.shape("MainLayers.0.Layers.0.LinearLayer.weight", 2)[1] - _embedding(ema)[0]
    players: dict[str, Mapping[str, Tensor]] = {}
    weight = next((each for size, each in _PENALTY.items() if resolution <= size), _PENALTY[256])
    settings: dict[str, Any] = {
        "recipe": "r3gan",
        "regularizers": {"r1": {"weight": weight}, "r2": {"weight": weight}},
        "optimizer": {"generator_lr": 5e-5, "discriminator_lr": 5e-5, "beta2": 0.99},
    }
    notes = ["mixed precision is not imported; the networks compute in the precision of the run"]
    if classes:
        notes.append(f"labels are classes 0 to {classes - 1}; the file has no names of them")
    if content.get("D") is None:
        notes.append("the file has no discriminator D; --init-from starts with a new one")
    else:
        judge = _Tensors(content, "D")
        own, judged = _describe(judge, conditioning="projection", first=0)
        if (len(own), _embedding(judge)[1]) != (len(channels), classes):
            raise CheckpointError("D judges other images than G_ema generates")
        settings["discriminator"] = {"name": "r3gan", **judged}
        trained = ema if content.get("G") is None else _Tensors(content, "G")
        players["generator"] = _generator_weights(trained, colors, channels, options)
        players["discriminator"] = _discriminator_weights(judge, colors, own[::-1], judged)
    return Imported(
        generator="r3gan",
        options={**options, "output": "linear"},
        data=data,
        weights=_generator_weights(ema, colors, channels, options),
        players=players,
        settings=settings,
        source={"format": "R3GAN"},
        notes=tuple(notes),
    )


def _embedding(found: _Tensors) -> tuple[int, ...]:
    """Return the length of the embedding of a class, and the number of classes."""
    return found.shape("EmbeddingLayer.weight", 2) if "EmbeddingLayer.weight" in found else (0, 0)


def _describe(found: _Tensors, *, conditioning: str, first: int) -> tuple[list[int], dict[str, Any]]:
    """Return the channels of all maps from the smallest, and the options of a network.

    Args:
        found: Tensors.
        conditioning: Method of conditioning, if there are classes.
        first: Position of the first block in each stage.
    """
    stages = found.count("MainLayers.", f".Layers.{first}.LinearLayer1.weight")
    kernels = [found.shape(f"MainLayers.{stage}.Layers.{first}.LinearLayer1.weight", 4) for stage in range(stages)]
    channels = [shape[1] for shape in (kernels if first else kernels[::-1])]  # from the smallest maps
    wide = channels.count(max(channels, default=0))
    if not 2 <= stages <= 9 or channels != [max(channels) >> max(0, index + 1 - wide) for index in range(stages)]:
        raise CheckpointError(
            f"{found.name}: channels {channels} are unsupported",
            "networks have 2 to 9 sizes of maps, with equal channels and then half as many at each larger size",
        )
    groups = found.shape(f"MainLayers.0.Layers.{first}.LinearLayer2.weight", 4)
    return channels, {
        "width": channels[0],
        "wide_sizes": wide,
        "blocks": found.count("MainLayers.0.Layers.", ".LinearLayer1.weight", first),
        "expansion": max(1, kernels[0][0] // kernels[0][1]),
        "group_width": groups[1],
        "conditioning": conditioning if _embedding(found)[1] else "none",
        "border": "zero",
    }


def _generator_weights(
    found: _Tensors, colors: int, channels: list[int], options: Mapping[str, Any]
) -> dict[str, Tensor]:
    z_dim, (embedding, classes) = options["z_dim"], _embedding(found)
    weigh = found.get("MainLayers.0.Layers.0.LinearLayer.weight", channels[0], z_dim + embedding)
    if classes:  # a linear function of a linear embedding
        embed = found.get("EmbeddingLayer.weight", embedding, classes).double()
        of_classes = weigh[:, z_dim:].double() @ embed / z_dim**0.5
        weigh = torch.cat([weigh[:, :z_dim], of_classes.float()], 1)
    weights = {"weigh.weight": weigh, "basis": found.get("MainLayers.0.Layers.0.Basis", channels[0], 4, 4)}
    for stage, count in enumerate(channels):
        if stage:
            weights |= _transition(found, f"MainLayers.{stage}.Layers.0", channels[stage - 1], count, 3 * stage - 2)
        weights |= _blocks(found, stage, count, options, first=1)
    weights["draw.weight"] = found.get("AggregationLayer.weight", colors, channels[-1], 1, 1)
    found.require_all_used()
    return weights


def _discriminator_weights(
    found: _Tensors, colors: int, channels: list[int], options: Mapping[str, Any]
) -> dict[str, Tensor]:
    embedding, classes = _embedding(found)
    weights = {"see.weight": found.get("ExtractionLayer.weight", channels[0], colors, 1, 1)}
    for stage, count in enumerate(channels):
        weights |= _blocks(found, stage, count, options, first=0)
        last = f"MainLayers.{stage}.Layers.{options['blocks']}"
        if stage < len(channels) - 1:
            weights |= _transition(found, last, count, channels[stage + 1], 3 * stage + 2)
    weights["basis.weight"] = found.get(f"{last}.Basis.weight", channels[-1], 1, 4, 4)
    judge = found.get(f"{last}.LinearLayer.weight", embedding or 1, channels[-1])
    if classes:  # <embedding, linear function of features> is a projection
        embed = found.get("EmbeddingLayer.weight", embedding, classes)
        weights["projection.weight"] = (embed.double().T @ judge.double()).float()
        judge = torch.zeros(1, channels[-1])
    weights["judge.weight"] = judge
    found.require_all_used()
    return weights


def _blocks(found: _Tensors, stage: int, channels: int, options: Mapping[str, Any], first: int) -> dict[str, Tensor]:
    """Return the weights of the blocks of a stage."""
    inner = channels * options["expansion"]
    weights: dict[str, Tensor] = {}
    for index in range(options["blocks"]):
        source, name = f"MainLayers.{stage}.Layers.{first + index}", f"layers.{3 * stage}.{index}.layers"
        weights |= {
            f"{name}.0.weight": found.get(f"{source}.LinearLayer1.weight", inner, channels, 1, 1),
            f"{name}.1.bias": found.get(f"{source}.NonLinearity1.Bias", inner),
            f"{name}.2.weight": found.get(f"{source}.LinearLayer2.weight", inner, options["group_width"], 3, 3),
            f"{name}.3.bias": found.get(f"{source}.NonLinearity2.Bias", inner),
            f"{name}.4.weight": found.get(f"{source}.LinearLayer3.weight", channels, inner, 1, 1),
        }
    return weights


def _transition(found: _Tensors, source: str, before: int, after: int, place: int) -> dict[str, Tensor]:
    """Return the weights between two sizes of maps, if any; raise CheckpointError for another filter."""
    taps = torch.tensor(FILTER) / sum(FILTER)
    if not torch.allclose(found.get(f"{source}.Resampler.Kernel", 4, 4), torch.outer(taps, taps), atol=1e-6):
        raise CheckpointError(f"{found.name}.{source} has another filter than 1, 3, 3, 1, which is unsupported")
    if before == after:
        return {}
    return {f"layers.{place}.weight": found.get(f"{source}.LinearLayer.weight", after, before, 1, 1)}
