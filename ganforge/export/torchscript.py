"""Export to a TorchScript file that runs without ganforge, in Python and C++."""

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
from ganforge.export.inspection import check_output, effective_spec
from ganforge.export.methods import compile_methods
from ganforge.export.optimize import optimize_generator
from ganforge.export.scripting import quiet
from ganforge.export.verification import list_calls, reference_outputs, worst_difference
from ganforge.runs.checkpoint import digest_tensors, read_spec

Precision = Literal["float32", "bfloat16", "float16"]

TOLERANCE = 1e-5
"""Maximum absolute difference in float32; rounding differs by up to 3e-6 among processors and batch sizes."""

TOLERANCES: dict[Precision, float] = {"float32": TOLERANCE, "bfloat16": 0.25, "float16": 0.05}
"""Maximum absolute difference from the original in float32, by precision."""

_TYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class TorchScriptExporter(Exporter):
    """One file for C++ and Python with the network and methods that sample from seeds to pixels.

    Args:
        precision: Type of the weights and computations; outputs are float32.
        device: Device of the weights after loading.
    """

    suffix = ".pt"

    def __init__(self, *, precision: Precision = "float32", device: Literal["cpu", "cuda"] = "cpu") -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise OptionError("exporter 'torchscript', device=cuda: no CUDA device found", "use device=cpu")
        self.precision: Precision = precision
        self.device = device

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write the file after a subprocess without ganforge has reproduced the outputs.

        It holds ``ganforge.json`` and ``summary.txt``. Equal weights give equal bytes within one process; between
        processes the order of constants varies, so compare the ``digest`` in ``ganforge.json``.
        """
        original = copy.deepcopy(generator).to(self.device).float().eval().requires_grad_(False)
        data = effective_spec(original, read_spec(card))
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
        compared = "outputs, in a process without ganforge"
        return ExportReport(path, len(content), sum(map(len, expected)), worst, compared)


def compile_generator(network: Generator, data: DataSpec, precision: Precision = "float32") -> torch.jit.ScriptModule:
    """Optimize and compile a generator with all methods of its file.

    Args:
        network: In evaluation mode; it stays unchanged.
        data: Output of the network.
        precision: Compute precision.

    Raises:
        GanforgeError: TorchScript cannot compile it.
    """
    ready = optimize_generator(network, data)
    return compile_methods(ready.to(_TYPES[precision]), data)


def _pack(scripted: torch.jit.ScriptModule, description: dict[str, Any]) -> bytes:
    """Return the file's bytes; a save to disk would embed the file name."""
    description["digest"] = digest_tensors(scripted.generator.state_dict())
    texts = {"ganforge.json": json.dumps(description, sort_keys=True), "summary.txt": summarize(description)}
    buffer = io.BytesIO()
    with quiet():
        torch.jit.save(scripted, buffer, _extra_files=texts)
    return buffer.getvalue()
