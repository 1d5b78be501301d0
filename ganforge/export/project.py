"""Export to a C++ project: a TorchScript file and programs that sample from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganforge.contract.exporter import Exporter, ExportReport
from ganforge.contract.networks import Generator
from ganforge.export.folder import list_files, replacing_folder
from ganforge.export.torchscript import Precision, TorchScriptExporter
from ganforge.runs.checkpoint import read_spec
from ganforge.sampling import refuse_sources

MODEL = "generator.pt"
"""Name of the TorchScript file in a project."""

SOURCES = Path(__file__).parent / "cpp"
"""Folder of all other files of a project."""


class CppProjectExporter(Exporter):
    """A folder with the generator as TorchScript, CMake files, a library and example programs.

    Args:
        precision: Precision of the TorchScript file.
    """

    suffix = "-cpp"

    def __init__(self, *, precision: Precision = "float32") -> None:
        self.torchscript = TorchScriptExporter(precision=precision)

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write the folder after its TorchScript file is verified; files of an earlier export are replaced.

        Raises:
            OptionError: The folder holds something else or a modified file, or the generator takes source images.
        """
        refuse_sources(read_spec(card), "a C++ project")
        with replacing_folder(path, MODEL) as draft:
            report = self.torchscript.export(generator, card, draft / MODEL)
            for source in SOURCES.iterdir():
                if source.is_file():
                    (draft / source.name).write_bytes(source.read_bytes())
            num_bytes = sum((draft / name).stat().st_size for name in list_files(draft))
        return ExportReport(path, num_bytes, report.num_examples, report.worst_difference, report.compared)
