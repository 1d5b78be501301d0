"""Export to a web page: a folder that runs in any browser, without a server or network."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.errors import OptionError
from ganforge.contract.exporter import Exporter, ExportReport
from ganforge.contract.networks import Generator
from ganforge.core.atomic_files import write_bytes
from ganforge.export.folder import exported_files, list_files, replacing_folder
from ganforge.export.onnx import OnnxExporter
from ganforge.export.portable import Part
from ganforge.export.web.files import INDEX, assign, page_files
from ganforge.export.web.model import describe_model
from ganforge.export.web.runtime import Runtime, find_runtime
from ganforge.runs.checkpoint import read_spec
from ganforge.runs.marking import xmp_packet
from ganforge.sampling import refuse_sources

_RUNTIME = '<a href="onnxruntime/LICENSE.txt">onnxruntime-web</a>'
_SCRIPTS = ("graphs.js", "onnxruntime/ort.wasm.min.js", "onnxruntime/runtime.js")


class WebExporter(Exporter):
    """A folder whose ``index.html`` generates images in the browser, from a disk or a web server.

    Args:
        runtime: The npm package onnxruntime-web, as a .tgz or unpacked; by default from the cache, or by npm.
        marking: Whether downloaded images have metadata that mark them as generated.
    """

    suffix = "-web"

    def __init__(self, *, runtime: str = "", marking: bool = True) -> None:
        self.runtime = runtime
        self.marking = marking

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write the folder after `OnnxExporter` has verified its graphs; files of an earlier export are replaced.

        Raises:
            OptionError: The generator makes no images or takes source images, the folder holds something else, or
                onnxruntime-web is not found.
            GanforgeError: The network cannot be exported to ONNX.
        """
        shape = tuple(card["data"]["shape"])
        if len(shape) != 3 or shape[0] not in (1, 3, 4):
            raise OptionError(
                f"{type(generator).__name__} generates {'x'.join(map(str, shape))}, not images",
                "a web page supports images of 1, 3 or 4 channels; export another format",
            )
        refuse_sources(read_spec(card), "a web page")
        exported_files(path, INDEX)  # fail early
        runtime = find_runtime(self.runtime)
        parts: tuple[Part, ...] = ("mapping", "synthesis") if isinstance(generator, StyleGenerator) else ("whole",)
        with tempfile.TemporaryDirectory(prefix="ganforge-export-") as folder:
            reports = {
                part: OnnxExporter(part=part).export(generator, card, Path(folder) / f"{part}.onnx") for part in parts
            }
            graphs: dict[str, bytes] = {part: report.path.read_bytes() for part, report in reports.items()}
        texts = {part: read_text(graph) for part, graph in graphs.items()}
        packet = xmp_packet(card, "{seeds}").decode() if self.marking else ""  # the page knows the seeds
        model = {**describe_model(generator, card, texts), "runtime": runtime.version, "packet": packet}
        with replacing_folder(path, INDEX) as draft:
            _write_page(draft, model, graphs, runtime)
            num_bytes = sum((draft / name).stat().st_size for name in list_files(draft))
        return ExportReport(
            path,
            num_bytes=num_bytes,
            num_examples=sum(report.num_examples for report in reports.values()),
            worst_difference=max(report.worst_difference for report in reports.values()),
            compared=reports[parts[-1]].compared,
        )


def read_text(graph: bytes) -> dict[str, Any]:
    """Return the ``ganforge.json`` of an ONNX file."""
    import onnx  # optional; OnnxExporter reports a missing package

    properties = {each.key: each.value for each in onnx.load_model_from_string(graph).metadata_props}
    text: dict[str, Any] = json.loads(properties["ganforge.json"])
    return text


def _write_page(folder: Path, model: Mapping[str, Any], graphs: Mapping[str, bytes], runtime: Runtime) -> None:
    """Write the page. A page opened from a disk may load only scripts, so all data are in scripts."""
    for name, content in page_files("on_device.js", runtime=_RUNTIME, scripts=_SCRIPTS).items():
        write_bytes(folder / name, content)
    texts = {"module": runtime.module.decode(), "binary": _encode(runtime.binary)}
    write_bytes(folder / "onnxruntime/ort.wasm.min.js", runtime.script)
    write_bytes(folder / "onnxruntime/runtime.js", assign("runtime", texts))
    write_bytes(folder / "model.js", assign("model", model))
    write_bytes(folder / "graphs.js", assign("graphs", {part: _encode(graph) for part, graph in graphs.items()}))


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
