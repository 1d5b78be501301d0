"""What a portable file is asked for when it is proved, and what the original gives for that."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.networks import Generator
from ganforge.export.portable import Portable
from ganforge.export.reading import check_output
from ganforge.layers.noise import NOISE_MODES
from ganforge.sampling import draw_latents, stand_in_labels


@dataclass(frozen=True)
class Asked:
    """What a call asks for, in the words of a generator's own methods.

    Attributes:
        count: N, number of examples.
        truncation: 1 leaves latents as they are.
        cutoff: So many of the coarsest layers are truncated; -1 for all.
        noise: One of `NOISE_MODES`.
        label: The class of all examples; None for all in turn.
    """

    count: int
    truncation: float = 1.0
    cutoff: int = -1
    noise: str = "fixed"
    label: int | None = None


@dataclass(frozen=True)
class Example:
    """One call, and what has to come of it.

    Attributes:
        asked: In words.
        inputs: By name, in the order in which the file takes them.
        output: What the original gives.
    """

    asked: Asked
    inputs: dict[str, Tensor]
    output: Tensor


def list_examples(portable: Portable, original: Generator) -> list[Example]:
    """Batches of 1, 7 and 64, truncated and not, in each kind of noise, of all classes and of the last.

    Args:
        portable: What is written.
        original: The network of which it was made, on the CPU, in evaluation mode and in float32.

    Raises:
        PluginError: Its outputs have another shape than its data ask for.
        GanforgeError: They are not finite.
    """
    truncations = [0.5, 1.0] if "truncation" in portable.names else [1.0]
    asked = [Asked(count, truncation) for count, truncation in product((1, 7, 64), truncations)]
    if "cutoff" in portable.names:
        asked += [Asked(7, 0.5, cutoff) for cutoff in (0, 1)]
    if portable.plan is not None:
        asked += [Asked(7, noise=noise) for noise in NOISE_MODES]
    if "labels" in portable.names and portable.data.num_classes:
        asked.append(Asked(7, label=portable.data.num_classes - 1))
    examples = [make_example(portable, original, each) for each in asked]
    if portable.part != "mapping":
        for example in examples:
            check_output(example.output, portable.data, type(original).__name__)
    return examples


def make_example(portable: Portable, original: Generator, asked: Asked) -> Example:
    """The inputs that ask for this, and what the original's own methods give; seed 0 draws the noise for both."""
    z = draw_latents(asked.count, original.z_dim, asked.count)
    labels = stand_in_labels(asked.count, portable.data)
    if labels is not None and asked.label is not None:
        labels = torch.full_like(labels, asked.label)
    given = {"z": z, "truncation": torch.tensor(asked.truncation), "cutoff": torch.tensor(asked.cutoff)}
    if labels is not None:
        given["labels"] = labels
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        if isinstance(original, StyleGenerator):
            given["styles"] = original.mapping(z, labels, asked.truncation, asked.cutoff).contiguous()
            is_mapping = portable.part == "mapping"
            output = given["styles"] if is_mapping else original.synthesis(given["styles"], asked.noise)
        else:
            options = {"truncation": asked.truncation} if "truncation" in portable.names else {}
            output = original(z, labels, **options)
        if portable.plan is not None:
            torch.manual_seed(0)
            drawn = portable.plan.draw(asked.count)
            given["noise"] = drawn if asked.noise == "random" else torch.zeros_like(drawn)
            given["fixed_noise"] = torch.tensor(portable.plan.modes[asked.noise])
    return Example(asked, {name: given[name] for name in portable.names}, output.contiguous())
