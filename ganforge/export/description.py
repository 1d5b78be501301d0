"""Metadata of an exported file: ``ganforge.json``, and ``summary.txt`` for readers without a JSON parser."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import torch

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import DataSpec
from ganforge.contract.networks import Generator
from ganforge.export.portable import Portable
from ganforge.layers.noise import NOISE_MODES
from ganforge.runs.origin import describe_origin
from ganforge.sampling import can_truncate
from ganforge.version import __version__

_EXAMPLES = {"z": "z", "labels": "labels", "w": "w", "count": "16", "seed": "0", "truncation": "0.7"}
"""Argument values in the example calls; others keep their defaults."""


def describe(
    card: Mapping[str, Any], data: DataSpec, calls: Mapping[str, Any], *, file_format: str, precision: str, device: str
) -> dict[str, Any]:
    """Return the content of ``ganforge.json``: the card, the inputs and outputs, and versions.

    Args:
        card: Card of the generator's checkpoint.
        data: Data from `effective_spec`.
        calls: Result of `describe_methods` or `describe_portable`.
        file_format: Name of the format.
        precision: Compute precision.
        device: Device of the weights.
    """
    return {
        "card": dict(card),
        "class_names": list(data.class_names),
        "data_fingerprint": card["data"].get("fingerprint"),
        "device": device,
        "format": file_format,
        "precision": precision,
        "versions": {"ganforge": __version__, "python": platform.python_version(), "torch": torch.__version__},
        **calls,
    }


def describe_methods(network: Generator, data: DataSpec) -> dict[str, Any]:
    """Return the inputs, output and example call of each method of a TorchScript file."""
    inputs, output = _inputs(network, data), _output(data)
    methods = {"forward": _method("forward", inputs, output)}
    if isinstance(network, StyleGenerator):
        noise = inputs["noise"]
        of_mapping = {name: each for name, each in inputs.items() if name != "noise"}
        methods["mapping"] = _method("mapping", of_mapping, _styles(network))
        methods["synthesis"] = _method("synthesis", {"w": _styles(network), "noise": noise}, output)
    of_sample: dict[str, Any] = {
        "count": {"dtype": "int", "range": [1, None], "meaning": "N, number of examples"},
        "seed": {"dtype": "int", "meaning": "example i has seed + i"},
    }
    of_sample |= {name: each for name, each in inputs.items() if name != "z"}
    meaning = "classes from 0; all in turn by default" if data.num_classes else "unused: there are no classes"
    if data.numbers:
        meaning = "condition vectors; those of examples in the data by default, in turn"
    if not data.source_shape:
        of_sample["labels"] = {**inputs["labels"], "default": None, "meaning": meaning}
    methods["sample"] = _method("sample", of_sample, output)
    if data.is_image:
        height_width, channels = data.shape[1:], data.shape[0]
        pixels = {"shape": ["N", *height_width, channels], "dtype": "uint8", "range": [0, 255], "meaning": "pixels"}
        methods["sample_uint8"] = _method("sample_uint8", of_sample, pixels)
    return {"inputs": inputs, "methods": methods, "output": output}


def describe_portable(portable: Portable) -> dict[str, Any]:
    """Return the inputs in order, the output and the noise layout of a `Portable`."""
    network, plan = portable.network, portable.plan
    known = _inputs(network, portable.data)
    if portable.data.num_classes:
        known["labels"]["meaning"] = "classes from 0"
    for name, dtype in (("truncation", "float32"), ("cutoff", "int64")):
        if name in known:
            known[name] |= {"shape": [], "dtype": dtype}
    if isinstance(network, StyleGenerator):
        known["styles"] = _styles(network)
    described: dict[str, Any] = {}
    if plan is not None:
        meaning = "noise of all layers, concatenated; zeros, or N(0, 1) for random noise"
        known["noise"] = {"shape": ["N", plan.size], "dtype": "float32", "meaning": meaning}
        meaning = "factor of each layer's fixed noise; 1 to add it, 0 to omit it"
        known["fixed_noise"] = {"shape": [len(plan.layers)], "dtype": "float32", "meaning": meaning}
        described["noise"] = {"size": plan.size, "layers": len(plan.layers), "modes": plan.modes}
    is_mapping = portable.part == "mapping" and isinstance(network, StyleGenerator)
    output = _styles(network) if is_mapping else _output(portable.data)  # type: ignore[arg-type]
    return {
        **described,
        "part": portable.part,
        "order": portable.names,
        "inputs": {name: known[name] for name in portable.names},
        "output": {"name": "styles" if is_mapping else output["meaning"], **output},
    }


def summarize(description: Mapping[str, Any]) -> str:
    """Return ``summary.txt``: lines of ``name: value``."""
    card, inputs, output = description["card"], description["inputs"], description["output"]
    names, labels = description["class_names"], inputs.get("labels", {})
    numbers = labels.get("names")
    noise = description.get("noise", {})
    lines = {
        "generator": card["generator"]["name"],
        "output": f"{'x'.join(map(str, output['shape'][1:]))} {output['meaning']}",
        "z_dim": inputs["z"]["shape"][1] if "z" in inputs else None,
        "source": _source(inputs.get("labels", {})),
        "num_classes": len(names),
        "class_names": ", ".join(names) if names and all(map(_is_plain, names)) else None,
        "number_names": ", ".join(numbers) if numbers and all(map(_is_plain, numbers)) else None,
        "number_means": " ".join(map(repr, labels["means"])) if numbers else None,
        "conditions": " ".join(repr(each) for row in labels["defaults"] for each in row) if numbers else None,
        "truncation": "yes" if "truncation" in inputs else "no",
        "trained": f"{card.get('images', 'unknown')} images",
        "digest": card.get("digest"),
        **describe_origin(card),
        "format": description["format"],
        "precision": description["precision"],
        "exported": ", ".join(f"{name} {version}" for name, version in description["versions"].items()),
        "inputs": " ".join(description["order"]) if "order" in description else None,
        "noise_size": noise.get("size"),
        "noise_layers": noise.get("layers"),
        "fixed_noise": " ".join(f"{share:g}" for share in noise["modes"]["fixed"]) if noise else None,
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items() if value is not None)


def _inputs(network: Generator, data: DataSpec) -> dict[str, Any]:
    """Return the inputs of ``forward``."""
    num_classes = data.num_classes
    inputs: dict[str, Any] = {
        "z": {"shape": ["N", network.z_dim], "dtype": "float32", "meaning": "latents from N(0, 1)"},
        "labels": {"shape": ["N"], "dtype": "int64", "num_classes": num_classes, "meaning": "classes from 0, or None"},
    }
    if num_classes:
        inputs["labels"]["range"] = [0, num_classes - 1]
    if data.numbers:
        meaning = "condition vectors"
        names, means = [each.name for each in data.numbers], [each.mean for each in data.numbers]
        inputs["labels"] = {"shape": ["N", len(names)], "dtype": "float32", "names": names, "means": means}
        examples = [each.examples or (each.mean,) for each in data.numbers]
        inputs["labels"]["defaults"] = [list(row) for row in zip(*examples, strict=False)]
        inputs["labels"]["meaning"] = meaning
    if data.source_shape:
        meaning = "source images"
        shape = ["N", *data.source_shape]
        inputs["labels"] = {"shape": shape, "dtype": "float32", "range": [-1.0, 1.0], "meaning": meaning}
    if can_truncate(network):
        meaning = "1 for none; smaller values move latents toward their mean"
        inputs["truncation"] = {"dtype": "float", "range": [0.0, 1.0], "default": 1.0, "meaning": meaning}
    if isinstance(network, StyleGenerator):
        meaning = "number of coarsest layers that are truncated; -1 for all"
        inputs["cutoff"] = {"dtype": "int", "range": [-1, network.num_styles], "default": -1, "meaning": meaning}
        meaning = "random, or fixed: in all layers, in none, or in the coarser or finer half"
        inputs["noise"] = {"dtype": "str", "values": list(NOISE_MODES), "default": "fixed", "meaning": meaning}
    return inputs


def _styles(network: StyleGenerator) -> dict[str, Any]:
    """Return the output of ``mapping``, which is the input of ``synthesis``."""
    return {"shape": ["N", network.num_styles, network.w_dim], "dtype": "float32", "meaning": "styles by layer"}


def _output(data: DataSpec) -> dict[str, Any]:
    """Return the output of ``forward``."""
    output: dict[str, Any] = {"shape": ["N", *data.shape], "dtype": "float32", "meaning": "vectors"}
    if data.is_image:
        output |= {"range": [-1.0, 1.0], "meaning": "images"}
    return output


def _method(name: str, inputs: Mapping[str, Any], output: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method with example calls in Python and C++, where ``network`` is the loaded file."""
    given = {each: _EXAMPLES[each] for each in inputs if each in _EXAMPLES}
    labels = inputs.get("labels", {})
    if labels.get("num_classes") == 0:
        given.pop("labels", None)
    arguments = ", ".join(f"{each}={value}" for each, value in given.items())
    named = ", ".join(f'{{"{each}", {value}}}' for each, value in given.items())
    return {
        "inputs": dict(inputs),
        "output": dict(output),
        "python": f"network.{name}({arguments})",
        "cpp": f'network.get_method("{name}")({{}}, {{{named}}}).toTensor()',
    }


def _source(labels: Mapping[str, Any]) -> str | None:
    """Return the size of source images in words; None if labels are none."""
    sizes = labels.get("shape", [])[1:]
    return f"{'x'.join(map(str, sizes))} images" if len(sizes) == 3 else None


def _is_plain(name: str) -> bool:
    """Return whether a class name fits in a comma-separated line."""
    return name.isprintable() and "," not in name and name == name.strip()
