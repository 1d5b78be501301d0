"""Examples that verify a portable file: inputs, and outputs of the original network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.networks import Generator
from ganforge.export.inspection import check_output
from ganforge.export.portable import Portable
from ganforge.layers.noise import NOISE_MODES
from ganforge.sampling import draw_latents, stand_in_labels


@dataclass(frozen=True)
class CallOptions:
    """Arguments of one call.

    Attributes:
        count: N, number of examples.
        truncation: Truncation psi; 1 for none.
        cutoff: Number of coarsest layers that are truncated; -1 for all.
        noise: One of `NOISE_MODES`.
        label: Class of all examples; None for all classes in turn.
    """

    count: int
    truncation: float = 1.0
    cutoff: int = -1
    noise: str = "fixed"
    label: int | None = None


@dataclass(frozen=True)
class Example:
    """One call with its expected output.

    Attributes:
        options: Arguments of the call.
        inputs: Tensors by name, in the order of the file's inputs.
        output: Output of the original network.
    """

    options: CallOptions
    inputs: dict[str, Tensor]
    output: Tensor


def list_examples(portable: Portable, original: Generator) -> list[Example]:
    """Return examples for batches of 1, 7 and 64, truncations, noise modes and classes.

    Args:
        portable: The exported network.
        original: The network it was made from, on the CPU, in evaluation mode and float32.

    Raises:
        PluginError: An output has an invalid shape.
        GanforgeError: An output is non-finite.
    """
    truncations = [0.5, 1.0] if "truncation" in portable.names else [1.0]
    options = [CallOptions(count, truncation) for count, truncation in product((1, 7, 64), truncations)]
    if "cutoff" in portable.names:
        options += [CallOptions(7, 0.5, cutoff) for cutoff in (0, 1)]
    if portable.plan is not None:
        options += [CallOptions(7, noise=noise) for noise in NOISE_MODES]
    if "labels" in portable.names and portable.data.num_classes:
        options.append(CallOptions(7, label=portable.data.num_classes - 1))
    examples = [make_example(portable, original, each) for each in options]
    if portable.part != "mapping":
        for example in examples:
            check_output(example.output, portable.data, type(original).__name__)
    return examples


def make_example(portable: Portable, original: Generator, options: CallOptions) -> Example:
    """Return the inputs and the original's output of a call; noise of both has seed 0."""
    z = draw_latents(options.count, original.z_dim, options.count)
    labels = stand_in_labels(options.count, portable.data)
    if labels is not None and options.label is not None:
        labels = torch.full_like(labels, options.label)
    given = {"z": z, "truncation": torch.tensor(options.truncation), "cutoff": torch.tensor(options.cutoff)}
    if labels is not None:
        given["labels"] = labels
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        if isinstance(original, StyleGenerator):
            given["styles"] = original.mapping(z, labels, options.truncation, options.cutoff).contiguous()
            is_mapping = portable.part == "mapping"
            output = given["styles"] if is_mapping else original.synthesis(given["styles"], options.noise)
        else:
            extra = {"truncation": options.truncation} if "truncation" in portable.names else {}
            output = original(z, labels, **extra)
        if portable.plan is not None:
            torch.manual_seed(0)
            drawn = portable.plan.draw(options.count)
            given["noise"] = drawn if options.noise == "random" else torch.zeros_like(drawn)
            given["fixed_noise"] = torch.tensor(portable.plan.modes[options.noise])
    return Example(options, {name: given[name] for name in portable.names}, output.contiguous())
