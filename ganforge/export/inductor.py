"""A generator compiled to native code by AOTInductor: the quickest file on a CPU, for processors like this one."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch.export import ExportedProgram

from ganforge.contract.errors import GanforgeError, OptionError
from ganforge.contract.exporter import Exporter, ExportReport
from ganforge.contract.networks import Generator
from ganforge.core.atomic_files import write_bytes
from ganforge.export.description import describe, describe_portable, summarize
from ganforge.export.examples import Example, list_examples
from ganforge.export.onnx import TOLERANCE
from ganforge.export.optimize import make_quick
from ganforge.export.portable import Part, Portable
from ganforge.export.tracing import explain, quiet, trace
from ganforge.export.verification import compare_examples
from ganforge.runs.checkpoint import digest_tensors, read_spec

TOLERANCES = {"float32": TOLERANCE, "bfloat16": 0.25}
"""Largest difference accepted by precision, beside the original in float32."""

_CALL = 'torch._inductor.aoti_load_package("generator.pt2")({inputs})'
"""How the file is called, with a tensor for each input. The variable of the environment must be set before."""

# What the fresh process runs: it knows nothing of ganforge. Wrong inputs must be noticed, and not be computed with.
_CONSUMER = """
import json
import os
import sys

os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"
import torch
from safetensors.torch import load_file, save_file

folder, device = sys.argv[1:]
network = torch._inductor.aoti_load_package(f"{folder}/model.pt2")
with open(f"{folder}/inputs.json") as file:
    count = json.load(file)
given = load_file(f"{folder}/inputs.safetensors")
names = json.loads(network.get_metadata()["ganforge.json"])["order"]
outputs = {}
for index in range(count):
    inputs = [given[f"{index}.{name}"].to(device) for name in names]
    outputs[str(index)] = network(*inputs).cpu().contiguous()
for wrong in (inputs[0].double(), inputs[0][..., 1:].contiguous()):
    try:
        network(wrong, *inputs[1:])
    except RuntimeError:
        continue
    raise SystemExit(f"it computes with {wrong.dtype} {list(wrong.shape)}, which it should refuse")
save_file(outputs, f"{folder}/outputs.safetensors")
"""


class InductorExporter(Exporter):
    """Native code with its weights as a package of AOTInductor, in which labels, truncation and noise are inputs.

    Args:
        part: All of the generator; of one by styles also its first half, which gives styles, or its second.
        precision: Type of the weights, and of what is computed; the output is float32 in each.
        device: For which the code is made, and where it is proved.
    """

    suffix = ".pt2"

    def __init__(
        self,
        *,
        part: Part = "whole",
        precision: Literal["float32", "bfloat16"] = "float32",
        device: Literal["cpu", "cuda"] = "cpu",
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise OptionError("exporter 'pt2', device=cuda: torch finds no CUDA device here", "use device=cpu")
        self.part: Part = part
        self.precision = precision
        self.device = device

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write the file, once a fresh process without ganforge has computed the same by it; see `Exporter.export`.

        Its metadata hold ``ganforge.json``, which is the card and how to call it, and ``summary.txt``. Code is made for
        the instructions of this processor, and looks at its inputs only where AOTI_RUNTIME_CHECK_INPUTS=1 is set.
        """
        original = copy.deepcopy(generator).float().eval().requires_grad_(False)
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        portable = Portable(make_quick(original, read_spec(card)), read_spec(card), self.part, dtype)
        examples = list_examples(portable, original)
        digest = digest_tensors(original.state_dict())
        # Where code is chosen by the size of the batch, it is chosen for large ones; all are proved.
        content = self._compile(portable, max(examples, key=lambda each: each.asked.count), card, digest)
        tolerance = TOLERANCES[self.precision]
        worst = compare_examples(_CONSUMER, "model.pt2", content, examples, tolerance, self.device)
        write_bytes(path, content)
        compared = "outputs, as loaded by a process without ganforge"
        return ExportReport(path, len(content), sum(len(each.output) for each in examples), worst, compared)

    def _compile(self, portable: Portable, example: Example, card: Mapping[str, Any], digest: str) -> bytes:
        """The package's bytes."""
        inputs = [each.to(self.device) for each in example.inputs.values()]
        program = trace(portable.to(self.device), inputs)
        calls = describe_portable(portable)
        about = describe(card, portable.data, calls, file_format="pt2", precision=self.precision, device=self.device)
        about |= {"digest": digest, "python": _CALL.format(inputs=", ".join(portable.names))}
        metadata = {"ganforge.json": json.dumps(about, sort_keys=True), "summary.txt": summarize(about)}
        try:
            return _package(program, metadata, freezing=True)
        except torch._inductor.exc.InvalidCxxCompiler as error:
            raise GanforgeError(
                "AOTInductor finds no C++ compiler", "install g++, or name one in the variable CXX"
            ) from error
        except Exception:  # torch 2.11 stumbles over a linear layer to which a number is added, if weights are frozen
            try:
                return _package(program, metadata, freezing=False)
            except Exception as error:  # inductor and the compiler raise whatever their parts raise
                raise explain(portable, error) from error


def _package(program: ExportedProgram, metadata: dict[str, str], *, freezing: bool) -> bytes:
    """Compile a program; with its weights frozen they are laid out for the processor beforehand."""
    options = {
        "aot_inductor.metadata": metadata,
        "aot_inductor.check_lowerbound": False,  # it would refuse a batch of 1
        "freezing": freezing,
    }
    with tempfile.TemporaryDirectory(prefix="ganforge-export-") as folder, torch.no_grad(), quiet():
        draft = Path(folder) / "model.pt2"
        torch._inductor.aoti_compile_and_package(program, package_path=str(draft), inductor_configs=options)
        return draft.read_bytes()
