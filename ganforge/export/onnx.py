"""Export to an ONNX graph, for ONNX Runtime and browsers."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ganforge.contract.errors import GanforgeError, OptionError
from ganforge.contract.exporter import Exporter, ExportReport
from ganforge.contract.networks import Generator
from ganforge.core.atomic_files import write_bytes
from ganforge.export.description import describe, describe_portable, summarize
from ganforge.export.examples import list_examples
from ganforge.export.portable import BATCHED, Part, Portable
from ganforge.export.tracing import explain, quiet, trace
from ganforge.export.verification import compare_examples
from ganforge.runs.checkpoint import digest_tensors, read_spec

TOLERANCE = 1e-4
"""Maximum absolute difference; another runtime sums in another order."""

OPSET = 20

_CALL = 'onnxruntime.InferenceSession("generator.onnx").run(None, {{{inputs}}})[0]'
"""Call of the file, with a numpy array for each input."""

# Runs in a subprocess without torch and ganforge.
_CONSUMER = """
import json
import sys

import onnxruntime
from safetensors.numpy import load_file, save_file

folder = sys.argv[1]
session = onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])
with open(f"{folder}/inputs.json") as file:
    count = json.load(file)
given = load_file(f"{folder}/inputs.safetensors")
outputs = {}
for index in range(count):
    feeds = {key.partition(".")[2]: value for key, value in given.items() if key.startswith(f"{index}.")}
    (outputs[str(index)],) = session.run(None, feeds)
save_file(outputs, f"{folder}/outputs.safetensors")
"""


class OnnxExporter(Exporter):
    """An ONNX graph; latents, labels, truncation and noise are inputs.

    Args:
        part: The whole generator, or the mapping or synthesis network of a style-based generator.
    """

    suffix = ".onnx"

    def __init__(self, *, part: Part = "whole") -> None:
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
        if missing:
            raise OptionError(f"exporter 'onnx' needs {', '.join(missing)}", 'pip install "ganforge[onnx]"')
        self.part: Part = part

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write the file after ONNX Runtime has reproduced the outputs in a subprocess without torch.

        Its metadata hold ``ganforge.json`` and ``summary.txt``.
        """
        original = copy.deepcopy(generator).float().eval().requires_grad_(False)
        portable = Portable(original, read_spec(card), self.part)
        examples = list_examples(portable, original)
        digest = digest_tensors(original.state_dict())
        content = self._write(portable, list(examples[-1].inputs.values()), card, digest)
        worst = compare_examples(_CONSUMER, "model.onnx", content, examples, TOLERANCE)
        write_bytes(path, content)
        compared = "outputs, by ONNX Runtime in a process without torch"
        return ExportReport(path, len(content), sum(len(each.output) for each in examples), worst, compared)

    def _write(self, portable: Portable, inputs: list[torch.Tensor], card: Mapping[str, Any], digest: str) -> bytes:
        program = trace(portable, inputs)
        calls = describe_portable(portable)
        about = describe(card, portable.data, calls, file_format="onnx", precision="float32", device="cpu")
        about |= {
            "digest": digest,
            "python": _CALL.format(inputs=", ".join(f'"{n}": {n}' for n in portable.names)),
        }
        try:
            with torch.no_grad(), quiet():
                exported = torch.onnx.export(
                    program,
                    dynamo=True,
                    opset_version=OPSET,
                    input_names=portable.names,
                    output_names=[calls["output"]["name"]],
                    verbose=False,
                )
        except Exception as error:  # an unsupported operation; the type varies
            raise explain(portable, error) from error
        if exported is None:
            raise GanforgeError("torch wrote no ONNX graph")
        model = exported.model
        model.metadata_props.update(
            {"ganforge.json": json.dumps(about, sort_keys=True), "summary.txt": summarize(about)}
        )
        for value in (*model.graph.inputs, *model.graph.outputs):
            if value.shape is not None and (value.name in BATCHED or value in model.graph.outputs):
                value.shape[0] = "N"
        for node in model.graph.all_nodes():
            node.metadata_props.clear()  # source locations of each operation
        content: bytes = exported.model_proto.SerializeToString(deterministic=True)
        return content
