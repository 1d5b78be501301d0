"""What an exported file says of itself: ``ganforge.json``, and ``summary.txt`` for readers without a JSON parser."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import torch

from ganforge.capabilities import StyleGenerator
from ganforge.interfaces import Generator
from ganforge.layers.noise import NOISE_MODES
from ganforge.sampling import can_truncate
from ganforge.version import __version__

_EXAMPLES = {"z": "z", "labels": "labels", "w": "w", "count": "16", "seed": "0", "truncation": "0.7"}
"""How arguments are written in an example of a call; others are left at their defaults."""


def describe(network: Generator, card: Mapping[str, Any], precision: str, device: str) -> dict[str, Any]:
    """The card, what each method takes and gives and how to call it, and who wrote this.

    Args:
        network: The generator.
        card: What its checkpoint says of it.
        precision: In which it computes.
        device: On which its weights lie.
    """
    shape, class_names = list(card["data"]["shape"]), list(card["data"]["class_names"])
    inputs, output = _inputs(network, len(class_names)), _output(shape)
    methods = {"forward": _method("forward", inputs, output)}
    if isinstance(network, StyleGenerator):
        noise = inputs["noise"]
        styles = {"shape": ["N", network.num_styles, network.w_dim], "dtype": "float32", "meaning": "styles by layer"}
        of_mapping = {name: each for name, each in inputs.items() if name != "noise"}
        methods["mapping"] = _method("mapping", of_mapping, styles)
        methods["synthesis"] = _method("synthesis", {"w": styles, "noise": noise}, output)
    of_sample: dict[str, Any] = {
        "count": {"dtype": "int", "range": [1, None], "meaning": "N, how many"},
        "seed": {"dtype": "int", "meaning": "example i is that of seed + i"},
    }
    of_sample |= {name: each for name, each in inputs.items() if name != "z"}
    meaning = "classes from 0; all in turn if left out" if class_names else "there are no classes; leave it out"
    of_sample["labels"] = {**inputs["labels"], "default": None, "meaning": meaning}
    methods["sample"] = _method("sample", of_sample, output)
    if len(shape) == 3:
        pixels = {"shape": ["N", *shape[1:], shape[0]], "dtype": "uint8", "range": [0, 255], "meaning": "pixels"}
        methods["sample_uint8"] = _method("sample_uint8", of_sample, pixels)
    return {
        "card": dict(card),
        "class_names": class_names,
        "data_fingerprint": card["data"].get("fingerprint"),
        "device": device,
        "inputs": inputs,
        "methods": methods,
        "output": output,
        "precision": precision,
        "versions": {"ganforge": __version__, "python": platform.python_version(), "torch": torch.__version__},
    }


def summarize(description: Mapping[str, Any]) -> str:
    """The same in brief, as lines of ``name: value``."""
    card, inputs, output = description["card"], description["inputs"], description["output"]
    lines = {
        "generator": card["generator"]["name"],
        "output": f"{'x'.join(map(str, output['shape'][1:]))} {output['meaning']}",
        "z_dim": inputs["z"]["shape"][1],
        "num_classes": inputs["labels"]["num_classes"],
        "trained": f"{card.get('images', 'unknown')} images",
        "precision": description["precision"],
        "exported": ", ".join(f"{name} {version}" for name, version in description["versions"].items()),
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items())


def _inputs(network: Generator, num_classes: int) -> dict[str, Any]:
    """What ``forward`` takes."""
    inputs: dict[str, Any] = {
        "z": {"shape": ["N", network.z_dim], "dtype": "float32", "meaning": "latents drawn from N(0, 1)"},
        "labels": {"shape": ["N"], "dtype": "int64", "num_classes": num_classes, "meaning": "classes from 0, or None"},
    }
    if num_classes:
        inputs["labels"]["range"] = [0, num_classes - 1]
    if can_truncate(network):
        meaning = "1 leaves latents as they are, less brings them nearer to their mean"
        inputs["truncation"] = {"dtype": "float", "range": [0.0, 1.0], "default": 1.0, "meaning": meaning}
    if isinstance(network, StyleGenerator):
        meaning = "so many of the coarsest layers are truncated; -1 for all"
        inputs["cutoff"] = {"dtype": "int", "range": [-1, network.num_styles], "default": -1, "meaning": meaning}
        meaning = "random, or the same each time: in all layers, in none, or in the coarser or finer half"
        inputs["noise"] = {"dtype": "str", "values": list(NOISE_MODES), "default": "fixed", "meaning": meaning}
    return inputs


def _output(shape: list[int]) -> dict[str, Any]:
    """What ``forward`` gives."""
    output: dict[str, Any] = {"shape": ["N", *shape], "dtype": "float32", "meaning": "vectors"}
    if len(shape) == 3:
        output |= {"range": [-1.0, 1.0], "meaning": "images"}
    return output


def _method(name: str, inputs: Mapping[str, Any], output: Mapping[str, Any]) -> dict[str, Any]:
    """A method, with a call of it in Python and in C++, where ``network`` is the loaded file."""
    given = {each: _EXAMPLES[each] for each in inputs if each in _EXAMPLES}
    if not inputs.get("labels", {}).get("num_classes"):
        given.pop("labels", None)
    arguments = ", ".join(f"{each}={value}" for each, value in given.items())
    named = ", ".join(f'{{"{each}", {value}}}' for each, value in given.items())
    return {
        "inputs": dict(inputs),
        "output": dict(output),
        "python": f"network.{name}({arguments})",
        "cpp": f'network.get_method("{name}")({{}}, {{{named}}}).toTensor()',
    }
