"""Export to native code by AOTInductor: the fastest file on a CPU, for this type of processor."""

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
from ganforge.export.optimize import optimize_generator
from ganforge.export.portable import Part, Portable
from ganforge.export.tracing import explain, quiet, trace
from ganforge.export.verification import compare_examples
from ganforge.runs.checkpoint import digest_tensors, read_spec

TOLERANCES = {"float32": TOLERANCE, "bfloat16": 0.25}
"""Maximum absolute difference from the original in float32, by precision."""

_CALL = 'torch._inductor.aoti_load_package("generator.pt2")({inputs})'
"""Call of the file, with a tensor for each input."""

# Runs in a subprocess without ganforge. Invalid inputs must raise an error.
_CONSUMER = """
import json
import os
import sys

os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"
import torch
from safetensors.torch import load_file, save_file

folder, device = sys.argv[1:]
torch.backends.cudnn.allow_tf32 = False
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
    raise SystemExit(f"it accepts invalid input {wrong.dtype} {list(wrong.shape)}")
save_file(outputs, f"{folder}/outputs.safetensors")
"""


class InductorExporter(Exporter):
    """Native code with weights as an AOTInductor package; labels, truncation and noise are inputs.

    Args:
        part: The whole generator, or the mapping or synthesis network of a style-based generator.
        precision: Type of the weights and computations; the output is float32.
        device: Device of the code.
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
            raise OptionError("exporter 'pt2', device=cuda: no CUDA device found", "use device=cpu")
        self.part: Part = part
        self.precision = precision
        self.device = device

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write the file after a subprocess without ganforge has reproduced the outputs.

        Its metadata hold ``ganforge.json`` and ``summary.txt``. The code is specific to this processor's instructions,
        and validates its inputs only if AOTI_RUNTIME_CHECK_INPUTS=1 is set.
        """
        original = copy.deepcopy(generator).float().eval().requires_grad_(False)
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        portable = Portable(optimize_generator(original, read_spec(card)), read_spec(card), self.part, dtype)
        examples = list_examples(portable, original)
        digest = digest_tensors(original.state_dict())
        # Code that depends on the batch size is generated for the largest; all sizes are verified.
        content = self._compile(portable, max(examples, key=lambda each: each.options.count), card, digest)
        tolerance = TOLERANCES[self.precision]
        worst = compare_examples(_CONSUMER, "model.pt2", content, examples, tolerance, self.device)
        write_bytes(path, content)
        compared = "outputs, in a process without ganforge"
        return ExportReport(path, len(content), sum(len(each.output) for each in examples), worst, compared)

    def _compile(self, portable: Portable, example: Example, card: Mapping[str, Any], digest: str) -> bytes:
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
                "C++ compiler not found, which AOTInductor requires", "install g++, or set the variable CXX"
            ) from error
        except Exception:  # torch 2.11 fails on a linear layer plus a scalar if weights are frozen
            try:
                return _package(program, metadata, freezing=False)
            except Exception as error:  # inductor and the compiler raise many types
                raise explain(portable, error) from error


def _package(program: ExportedProgram, metadata: dict[str, str], *, freezing: bool) -> bytes:
    """Compile a program; freezing prepacks its weights."""
    options = {
        "aot_inductor.metadata": metadata,
        "aot_inductor.check_lowerbound": False,  # it refuses a batch of 1
        "freezing": freezing,
    }
    with tempfile.TemporaryDirectory(prefix="ganforge-export-") as folder, torch.no_grad(), quiet():
        draft = Path(folder) / "model.pt2"
        torch._inductor.aoti_compile_and_package(program, package_path=str(draft), inductor_configs=options)
        return draft.read_bytes()
