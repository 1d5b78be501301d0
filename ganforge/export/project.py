"""A C++ project of its own folder: a generator's TorchScript file, and programs that draw from it."""

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
"""Name of the generator's file in a project."""

SOURCES = Path(__file__).parent / "cpp"
"""All other files of a project."""


class CppProjectExporter(Exporter):
    """A folder for C++ programmers: the generator as TorchScript, CMake's files, a library and programs with sources.

    Args:
        precision: Of the generator's file, as for ``torchscript``.
    """

    suffix = "-cpp"

    def __init__(self, *, precision: Precision = "float32") -> None:
        self.torchscript = TorchScriptExporter(precision=precision)

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        """Write the folder, once its generator is proved; see `Exporter.export`.

        Of a folder that this exporter wrote before, its files are replaced and others stay. The report's size is that
        of the project's files; the rest of it is that of the TorchScript file.

        Raises:
            OptionError: Something else is there, or a file of an earlier export has been changed since; or the
                generator makes images of images.
        """
        refuse_sources(read_spec(card), "a C++ project")
        with replacing_folder(path, MODEL) as draft:
            report = self.torchscript.export(generator, card, draft / MODEL)
            for source in SOURCES.iterdir():
                if source.is_file():
                    (draft / source.name).write_bytes(source.read_bytes())
            num_bytes = sum((draft / name).stat().st_size for name in list_files(draft))
        return ExportReport(path, num_bytes, report.num_examples, report.worst_difference, report.compared)
