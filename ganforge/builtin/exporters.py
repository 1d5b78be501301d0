"""Built-in exporters."""

from __future__ import annotations

from ganforge import Exporter, hookimpl
from ganforge.export.inductor import InductorExporter
from ganforge.export.onnx import OnnxExporter
from ganforge.export.project import CppProjectExporter
from ganforge.export.torchscript import TorchScriptExporter
from ganforge.export.web.exporter import WebExporter
from ganforge.export.weights import SafetensorsExporter


@hookimpl
def ganforge_exporters() -> dict[str, type[Exporter]]:
    return {
        "torchscript": TorchScriptExporter,
        "onnx": OnnxExporter,
        "pt2": InductorExporter,
        "safetensors": SafetensorsExporter,
        "cpp-project": CppProjectExporter,
        "web": WebExporter,
    }
