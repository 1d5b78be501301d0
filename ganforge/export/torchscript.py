"""A generator as one TorchScript file that runs without ganforge, in Python and in C++, proved before it is written."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.exporter import Exporter, ExportReport
from ganforge.contract.networks import Generator
from ganforge.core.atomic_files import write_bytes
from ganforge.export.description import describe, describe_methods, summarize
from ganforge.export.methods import compile_methods
from ganforge.export.optimize import make_quick
from ganforge.export.reading import check_output, what_it_knows
from ganforge.export.scripting import quiet
from ganforge.export.verification import list_calls, reference_outputs, worst_difference
from ganforge.runs.checkpoint import digest_tensors, read_spec

Precision = Literal["float32", "bfloat16", "float16"]

TOLERANCE = 1e-5
"""Largest difference accepted in float32; other processors and batch sizes alone round differently by up to 3e-6."""

TOLERANCES: dict[Precision, float] = {"float32": TOLERANCE, "bfloat16": 0.25, "float16": 0.05}
"""Largest difference accepted by precision, beside the original in float32."""

_TYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class TorchScriptExporter(Exporter):
    """One file for C++ and Python with the network and, from seeds to pixels, all that drawing from it takes.

    Args:
        precision: Type of the weights, and of what is computed; outputs are float32 in each.
        device: Where the weights lie when the file is loaded, and where it is proved.
    """

    suffix = ".pt"

    def __init__(self, *, precision: Precision = "float32", device: Literal["cpu", "cuda"] = "cpu") -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise OptionError("exporter 'torchscript', device=cuda: torch finds no CUDA device here", "use device=cpu")
        self.precision: Precision = precision
        self.device = device

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write the file, once a fresh process without ganforge has computed the same from it; see `Exporter.export`.

        It holds two texts: ``ganforge.json``, which is the card and how to call the network, and ``summary.txt``. Equal
        weights give equal bytes within one process; between processes TorchScript orders constants in its code by
        Python's string hashes, so compare the ``digest`` of the weights in ``ganforge.json`` there.
        """
        original = copy.deepcopy(generator).to(self.device).float().eval().requires_grad_(False)
        data = what_it_knows(original, read_spec(card))
        calls = list_calls(original, data)
        reduced = None
        if self.precision != "float32":
            reduced = copy.deepcopy(original).to(_TYPES[self.precision])
        expected = reference_outputs(original, calls, data, reduced)
        for output in expected:
            check_output(output, data, type(generator).__name__)
        scripted = compile_generator(original, data, self.precision)
        methods = describe_methods(original, data)
        about = describe(card, data, methods, file_format="torchscript", precision=self.precision, device=self.device)
        content = _pack(scripted, about)
        worst = worst_difference(content, calls, expected, TOLERANCES[self.precision], self.device)
        write_bytes(path, content)
        compared = "outputs, as loaded by a process without ganforge"
        return ExportReport(path, len(content), sum(map(len, expected)), worst, compared)


def export_torchscript(generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
    """Write a generator as TorchScript on the CPU in float32; see `TorchScriptExporter`."""
    return TorchScriptExporter().export(generator, card, path)


def compile_generator(network: Generator, data: DataSpec, precision: Precision = "float32") -> torch.jit.ScriptModule:
    """Compile a generator as its file holds it: with all methods, and on a CPU made quicker.

    Args:
        network: In evaluation mode; it is left as it was.
        data: What it gives.
        precision: In which it is to compute.

    Raises:
        GanforgeError: TorchScript cannot compile it.
    """
    ready = make_quick(network, data)
    return compile_methods(ready.to(_TYPES[precision]), data)


def _pack(scripted: torch.jit.ScriptModule, description: dict[str, Any]) -> bytes:
    """The file's bytes. Saved to memory, since TorchScript writes the name of a file into the file."""
    description["digest"] = digest_tensors(scripted.generator.state_dict())
    texts = {"ganforge.json": json.dumps(description, sort_keys=True), "summary.txt": summarize(description)}
    buffer = io.BytesIO()
    with quiet():
        torch.jit.save(scripted, buffer, _extra_files=texts)
    return buffer.getvalue()
