"""Methods of a TorchScript file: `forward` as the generator has it, and `sample`, from seeds to examples.

They are TorchScript templates, since their arguments depend on the generator's ``forward``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import nn

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import DataSpec
from ganforge.contract.networks import Generator
from ganforge.export.scripting import explain, quiet, script
from ganforge.sampling import default_labels

BATCH = 64
"""Batch size of `sample`, as in `ganforge.generate`."""

# `like` has the dtype and device of the weights.
_PASS = """
def {method}(self, {parameters}) -> Tensor:{before}
    return self.generator.{method}({first}.to(self.like), {others}).float().contiguous()
"""

_SAMPLE = """
def sample(self, count: int, seed: int, labels: Optional[Tensor] = None{parameters}) -> Tensor:
    if count < 1:
        raise ValueError("count=" + str(count) + " must be at least 1")
{choice}
    source = torch.Generator()
    examples: List[Tensor] = []
    for start in range(0, count, {batch}):
        latents: List[Tensor] = []
        for index in range(start, min(start + {batch}, count)):
            source.manual_seed(seed + index)
            drawn = torch.randn([self.z_dim], generator=source, dtype=torch.float32, device=torch.device("cpu"))
            latents.append(drawn)
        some = classes[start : start + {batch}].to(self.like.device)
        examples.append(self.forward(torch.stack(latents), {some}{others}))
    return torch.cat(examples)
"""

_OF_CLASSES = """
    if labels is not None and self.num_classes == 0:
        raise ValueError("this generator has no classes; omit labels")
    classes = torch.arange(count, device=torch.device("cpu")) % max(self.num_classes, 1)
    if labels is not None:
        classes = labels
    if len(classes) != count:
        raise ValueError("labels must be " + str(count) + " classes, one for each example")
"""

_OF_IMAGES = """
    if labels is None:
        raise ValueError("this generator translates source images; give them as labels")
    classes = labels
    if len(classes) != count:
        raise ValueError("labels must be " + str(count) + " images, one for each example")
"""

_OF_VECTORS = """
    classes = self.conditions[torch.arange(count, device=self.conditions.device) % len(self.conditions)]
    if labels is not None:
        classes = labels
    if len(classes) != count:
        raise ValueError("labels must be " + str(count) + " vectors, one for each example")
"""

_SAMPLE_UINT8 = """
def sample_uint8(self, count: int, seed: int, labels: Optional[Tensor] = None{parameters}) -> Tensor:
    images = self.sample(count, seed, labels{others})
    pixels = images.mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous()
"""


class Exported(nn.Module):
    """The content of the file: the generator and constants of the methods."""

    __constants__ = ("z_dim", "num_classes")

    def __init__(self, generator: nn.Module, z_dim: int, data: DataSpec, like: torch.Tensor) -> None:
        super().__init__()
        self.generator = generator
        self.z_dim = z_dim
        self.num_classes = data.num_classes
        self.like: torch.Tensor
        self.register_buffer("like", like)
        if data.numbers:  # the default conditions of `sample`, one row each
            count = max(1, *(len(each.examples) for each in data.numbers))
            self.register_buffer("conditions", default_labels(count, data))


def compile_methods(network: Generator, data: DataSpec) -> torch.jit.ScriptModule:
    """Compile a generator with all methods of its file; the generator is the submodule ``generator``.

    Args:
        network: In evaluation mode, with weights of the compute precision.
        data: Output of the network; for images, ``sample_uint8`` is added.

    Raises:
        GanforgeError: TorchScript cannot compile it.
    """
    scripted = script(network)
    weights = next((each for each in network.state_dict().values() if each.is_floating_point()), torch.zeros(()))
    like = torch.zeros(0, dtype=weights.dtype, device=weights.device)
    try:
        methods = ["forward"] + (["mapping", "synthesis"] if isinstance(network, StyleGenerator) else [])
        schemas = {method: getattr(scripted, method).schema.arguments[1:] for method in methods}
        sources = [_delegate(method, arguments, data) for method, arguments in schemas.items()]
        rest = schemas["forward"][2:]
        parameters = "".join(f", {_parameter(each)}" for each in rest)
        others = "".join(f", {each.name}" for each in rest)
        some = "some" if data.is_conditional else "None"
        choice = _OF_IMAGES if data.source_shape else _OF_VECTORS if data.numbers else _OF_CLASSES
        choice = choice.strip("\n")
        sources.append(_SAMPLE.format(batch=BATCH, parameters=parameters, others=others, some=some, choice=choice))
        if data.is_image:
            sources.append(_SAMPLE_UINT8.format(parameters=parameters, others=others))
        with quiet():
            exported: torch.jit.ScriptModule = torch.jit.script(
                _class_of(tuple(sources))(scripted, network.z_dim, data, like).eval()
            )
            for source in sources:
                if not hasattr(exported, source.split("(")[0].split()[1]):  # modules of one type share methods
                    exported.define(source)
    except RuntimeError as error:
        raise explain(network, error) from error
    return exported


@cache
def _class_of(sources: tuple[str, ...]) -> type[Exported]:
    """Return a class for each set of methods, since TorchScript reuses the compiled type of a class."""
    return type("Exported", (Exported,), {"__module__": Exported.__module__})


_CAST = """
    if labels is not None:
        labels = labels.to(self.like)"""


def _delegate(method: str, arguments: Sequence[Any], data: DataSpec) -> str:
    """Return the source of a method that calls the generator's; source images and vectors are cast as z is."""
    before = _CAST if (data.source_shape or data.numbers) and "labels" in [each.name for each in arguments] else ""
    parameters = ", ".join(map(_parameter, arguments))
    others = ", ".join(each.name for each in arguments[1:])
    return _PASS.format(method=method, parameters=parameters, before=before, first=arguments[0].name, others=others)


def _parameter(argument: Any) -> str:
    """Return the source of a parameter from a schema's argument."""
    default = f" = {argument.default_value!r}" if argument.has_default_value() else ""
    return f"{argument.name}: {argument.type.annotation_str}{default}"
