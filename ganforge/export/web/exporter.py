"""A generator as a web page: a folder of files that runs it in any browser, with no server and no network."""

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
from ganforge.export.folder import list_files, list_own, replacing_folder
from ganforge.export.onnx import OnnxExporter
from ganforge.export.portable import Part
from ganforge.export.web.model import describe_model
from ganforge.export.web.runtime import Runtime, find_runtime
from ganforge.runs.checkpoint import read_spec
from ganforge.sampling import refuse_sources

_PAGE = Path(__file__).parent / "page"
"""The files that are the same on every page."""

_INDEX = "index.html"
"""Where a page begins."""


class WebExporter(Exporter):
    """A folder whose ``index.html`` draws pictures on the visitor's device, opened from a disk or from any web server.

    Args:
        runtime: The npm package onnxruntime-web, as a .tgz or unpacked; if empty, it is taken from the cache or fetched
            by npm.
    """

    suffix = "-web"

    def __init__(self, *, runtime: str = "") -> None:
        self.runtime = runtime

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write the folder, once each of its graphs is proved by `OnnxExporter`; see `Exporter.export`.

        Of a folder that was exported before, its files are replaced and others stay.

        Raises:
            OptionError: The generator makes no pictures, or makes them of others; something else is there;
                or onnxruntime-web is not to be had.
            GanforgeError: The network cannot be written as ONNX.
        """
        shape = tuple(card["data"]["shape"])
        if len(shape) != 3 or shape[0] not in (1, 3, 4):
            raise OptionError(
                f"{type(generator).__name__} makes {'x'.join(map(str, shape))}, which is no picture",
                "a web page shows pictures of 1, 3 or 4 channels; export another format",
            )
        refuse_sources(read_spec(card), "a web page")
        list_own(path, _INDEX)  # before the work is done
        runtime = find_runtime(self.runtime)
        parts: tuple[Part, ...] = ("mapping", "synthesis") if isinstance(generator, StyleGenerator) else ("whole",)
        with tempfile.TemporaryDirectory(prefix="ganforge-export-") as folder:
            reports = {
                part: OnnxExporter(part=part).export(generator, card, Path(folder) / f"{part}.onnx") for part in parts
            }
            graphs: dict[str, bytes] = {part: report.path.read_bytes() for part, report in reports.items()}
        texts = {part: read_text(graph) for part, graph in graphs.items()}
        model = {**describe_model(generator, card, texts), "runtime": runtime.version}
        with replacing_folder(path, _INDEX) as draft:
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
    """What an ONNX file says of itself: its ``ganforge.json``."""
    import onnx  # not every installation has it; where it is missing, OnnxExporter says so

    properties = {each.key: each.value for each in onnx.load_model_from_string(graph).metadata_props}
    text: dict[str, Any] = json.loads(properties["ganforge.json"])
    return text


def _write_page(folder: Path, model: Mapping[str, Any], graphs: Mapping[str, bytes], runtime: Runtime) -> None:
    """Fill a folder with the page.

    A page that is opened from a disk may read no other files than scripts, so all that it needs is in scripts.
    """
    for name in list_files(_PAGE):
        write_bytes(folder / name, (_PAGE / name).read_bytes())
    texts = {"module": runtime.module.decode(), "binary": _encode(runtime.binary)}
    write_bytes(folder / "onnxruntime/ort.wasm.min.js", runtime.script)
    write_bytes(folder / "onnxruntime/runtime.js", _assign("runtime", texts))
    write_bytes(folder / "model.js", _assign("model", model))
    write_bytes(folder / "graphs.js", _assign("graphs", {part: _encode(graph) for part, graph in graphs.items()}))


def _assign(name: str, value: Any) -> bytes:
    """A script that sets a property of the page's ``ganforge``; JSON is JavaScript."""
    return f'"use strict";\nganforge.{name} = {json.dumps(value)};\n'.encode()


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
