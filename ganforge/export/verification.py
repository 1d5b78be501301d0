"""Verification of an exported file: a subprocess without ganforge must reproduce the original's outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import GanforgeError
from ganforge.contract.networks import Generator
from ganforge.core.accelerator import fork_random_state, read_random_state
from ganforge.export.examples import Example
from ganforge.export.subprocess_runner import run_subprocess
from ganforge.layers.noise import NOISE_MODES
from ganforge.sampling import can_truncate, default_labels, draw_latents, stand_in_labels

# Runs in a subprocess without ganforge and plugins.
_CONSUMER = """
import json
import sys
import torch
from safetensors.torch import load_file, save_file

folder, device = sys.argv[1:]
torch.backends.cudnn.allow_tf32 = False
network = torch.jit.load(f"{folder}/model.pt", map_location=device)
with open(f"{folder}/inputs.json") as file:
    calls = json.load(file)
for key, value in load_file(f"{folder}/inputs.safetensors").items():
    index, name = key.split(".")
    calls[int(index)]["arguments"][name] = value.to(device)
outputs = {}
for index, call in enumerate(calls):
    torch.manual_seed(0)
    arguments = call["arguments"]
    with torch.no_grad():
        if call["method"] == "synthesis":
            noise = arguments.pop("noise")
            output = network.synthesis(network.mapping(**arguments), noise)
        else:
            output = getattr(network, call["method"])(**arguments)
        outputs[str(index)] = output.cpu().clone(memory_format=torch.contiguous_format)
save_file(outputs, f"{folder}/outputs.safetensors")
"""


@dataclass(frozen=True)
class Call:
    """One call of a TorchScript file; ``synthesis`` means ``mapping`` followed by ``synthesis``.

    Attributes:
        method: Name of the method.
        arguments: Tensors, numbers and strings by name.
    """

    method: str
    arguments: Mapping[str, Any]

    @property
    def batch(self) -> int:
        """Batch size."""
        return self.arguments["count"] if "count" in self.arguments else len(self.arguments["z"])


def list_calls(network: Generator, data: DataSpec) -> list[Call]:
    """Return calls for batches of 1, 7 and 64, labels, truncations, noise modes and seeds that the network supports."""
    labeled = [True, False] if data.is_conditional else [False]
    if data.is_conditional:
        try:
            run_call(network, Call("forward", {"z": draw_latents(1, network.z_dim, 0)}), data)
        except Exception:  # a conditional network may require labels, and raise anything
            labeled = [True]
    truncations: list[dict[str, float]] = [{}]
    if can_truncate(network):
        truncations = [{"truncation": 0.5}, {"truncation": 1.0}]
    calls = []
    for count, with_labels, truncation in product((1, 7, 64), labeled, truncations):
        labels = stand_in_labels(count, data) if with_labels else None
        chosen = {} if labels is None else {"labels": labels}
        calls.append(Call("forward", {"z": draw_latents(count, network.z_dim, count), **chosen, **truncation}))
    few = next(call.arguments for call in calls if call.batch == 7)
    noises = [{"noise": noise} for noise in NOISE_MODES] if isinstance(network, StyleGenerator) else []
    calls += [Call("synthesis", {**few, "cutoff": 1, **noise}) for noise in noises]

    methods = ["sample", "sample_uint8"] if data.is_image else ["sample"]
    for count, truncation, method in product((1, 7, 64), truncations, methods):
        sources = {"labels": stand_in_labels(count, data)} if data.source_shape else {}
        calls.append(Call(method, {"count": count, "seed": count, **sources, **truncation}))
    if data.num_classes:
        last = torch.full((7,), data.num_classes - 1)
        calls += [Call(method, {"count": 7, "seed": 3, "labels": last}) for method in methods]
    return [*calls, *(Call("sample", {"count": 7, "seed": 3, **noise}) for noise in noises)]


def run_call(network: Generator, call: Call, data: DataSpec) -> Tensor:
    """Return the network's output of a call, float32 on the CPU, with noise of seed 0; images for ``sample_uint8``."""
    return _run_network(network, call, data)[0]


def reference_outputs(
    network: Generator, calls: Sequence[Call], data: DataSpec, reduced: Generator | None = None
) -> list[Tensor]:
    """Return the expected output of each call.

    Args:
        network: The original in float32.
        calls: Calls.
        data: Output of the network.
        reduced: The original in lower precision, the reference of calls that draw noise: a seed gives other noise in
            another type.
    """
    outputs = []
    for call in calls:
        output, drew = _run_network(network, call, data)
        outputs.append(_run_network(reduced, call, data)[0] if drew and reduced is not None else output)
    return outputs


def _run_network(network: Generator, call: Call, data: DataSpec) -> tuple[Tensor, bool]:
    """Return the output, and whether the call drew random numbers."""
    like = next(each for each in network.state_dict().values() if each.is_floating_point())
    arguments = dict(call.arguments)
    if call.method in ("sample", "sample_uint8"):
        count = arguments.pop("count")
        arguments = {"labels": default_labels(count, data), **arguments}
        arguments["z"] = draw_latents(count, network.z_dim, arguments.pop("seed"))
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            arguments[name] = value.to(like.device, like.dtype if value.is_floating_point() else value.dtype)
    with (
        fork_random_state(like.device),
        torch.backends.cudnn.flags(allow_tf32=False),
        torch.no_grad(),
    ):
        torch.manual_seed(0)
        before = read_random_state(like.device)
        if call.method == "synthesis" and isinstance(network, StyleGenerator):
            noise = arguments.pop("noise")
            output = network.synthesis(network.mapping(**arguments), noise)
        else:
            output = network(**arguments)
        drew = not torch.equal(before, read_random_state(like.device))
    return output.float().cpu(), drew


def worst_difference(
    content: bytes, calls: Sequence[Call], expected: Sequence[Tensor], tolerance: float, device: str = "cpu"
) -> float:
    """Run a TorchScript file in a subprocess, and return the largest absolute difference.

    Args:
        content: The file.
        calls: Calls.
        expected: Result of `reference_outputs`.
        tolerance: Maximum difference. Pixels are compared with the values before rounding.
        device: Device of the file.

    Raises:
        GanforgeError: The file fails or differs by more, or the disk is full.
    """
    outputs = _run(content, calls, device)
    worst = 0.0
    for call, output, wanted in zip(calls, outputs, expected, strict=True):
        difference = _difference(output, wanted, is_pixels=call.method == "sample_uint8")
        if not difference <= tolerance:  # so that NaN fails too
            named = [f"a batch of {len(wanted)}", *(name for name in call.arguments if name not in ("z", "count"))]
            raise GanforgeError(
                f"the compiled network differs from the original by {difference:.2g} for {' with '.join(named)}"
                + ("" if call.method == "forward" else f", by {call.method}"),
                "nothing was written; remove what depends on torch.jit.is_scripting() or Python state, or, for lower "
                "precision, export in float32",
            )
        worst = max(worst, difference)
    return worst


def _difference(output: Tensor, wanted: Tensor, is_pixels: bool = False) -> float:
    """Return the largest absolute difference in [-1, 1]; for pixels, beyond rounding."""
    if not is_pixels:
        return (output - wanted).abs().max().item() if output.shape == wanted.shape else math.inf
    shades = (wanted * 127.5 + 127.5).clamp(0, 255).permute(0, 2, 3, 1)
    if output.dtype != torch.uint8 or output.shape != shades.shape:
        return math.inf
    return max((output - shades).abs().max().item() - 0.5, 0.0) / 127.5


def _run(content: bytes, calls: Sequence[Call], device: str) -> list[Tensor]:
    tensors: dict[str, Tensor] = {}
    plain = []
    for index, call in enumerate(calls):
        given = {name: value for name, value in call.arguments.items() if isinstance(value, Tensor)}
        tensors |= {f"{index}.{name}": value for name, value in given.items()}
        others = {name: value for name, value in call.arguments.items() if name not in given}
        plain.append({"method": call.method, "arguments": others})
    outputs = run_subprocess(_CONSUMER, "model.pt", content, tensors, plain, device)
    return [outputs[str(index)] for index in range(len(calls))]


def compare_examples(
    script: str, name: str, content: bytes, examples: Sequence[Example], tolerance: float, *arguments: str
) -> float:
    """Run a portable file in a subprocess, and return the largest absolute difference.

    Args:
        script: Script of `run_subprocess`. It reads input ``x`` of example i as ``i.x``, writes output i as ``i``, and
            reads the number of examples as JSON.
        name: Name of the file.
        content: The file.
        examples: Inputs and expected outputs.
        tolerance: Maximum difference.
        arguments: Further arguments of the script.

    Raises:
        GanforgeError: The file fails or differs by more, or the disk is full.
    """
    tensors = {
        f"{index}.{key}": value for index, example in enumerate(examples) for key, value in example.inputs.items()
    }
    outputs = run_subprocess(script, name, content, tensors, len(examples), *arguments)
    worst = 0.0
    for index, example in enumerate(examples):
        difference = _difference(outputs[str(index)], example.output)
        if not difference <= tolerance:  # so that NaN fails too
            raise GanforgeError(
                f"the exported file differs from the network by {difference:.2g} for {example.options}",
                "nothing was written; remove what depends on torch.compiler.is_exporting(), on Python state, or not "
                "linearly on truncation",
            )
        worst = max(worst, difference)
    return worst
