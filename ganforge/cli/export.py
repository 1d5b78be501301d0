"""``ganforge export``: files for use without ganforge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ganforge.cli.common import find_weights, open_generator, open_registry
from ganforge.cli.completion import complete_part
from ganforge.cli.options import Network, Out, Run, option, switch
from ganforge.core.console import print_result, say

DEFAULT = "torchscript"
"""Format if none is named."""


def export(
    run: Run = None,
    torchscript: Annotated[
        bool, switch("--torchscript", "TorchScript, for C++ and Python. The default format.")
    ] = False,
    onnx: Annotated[
        bool, switch("--onnx", "ONNX graph, for ONNX Runtime and browsers. Requires ganforge\\[onnx].")
    ] = False,
    pt2: Annotated[
        bool, switch("--pt2", "Native code by AOTInductor, for this type of CPU. Requires a C++ compiler.")
    ] = False,
    safetensors: Annotated[bool, switch("--safetensors", "Weights and description, without code.")] = False,
    cpp_project: Annotated[Path | None, option("--cpp-project", "CMake project that generates images.", "DIR")] = None,
    web: Annotated[
        Path | None, option("--web", "Web page that generates images in a browser. Requires ganforge\\[onnx].", "DIR")
    ] = None,
    formats: Annotated[
        list[str] | None,
        option("--format", "Exporter of any plugin. Repeatable.", "NAME", complete=complete_part("exporter")),
    ] = None,
    settings: Annotated[
        list[str] | None,
        option("--set", "Exporter option, e.g. torchscript.precision=bfloat16. Repeatable.", "NAME.OPTION=VALUE"),
    ] = None,
    to: Annotated[
        Path | None, option("--to", "Folder, or the file of a single format. Default: export/ in the run.", "PATH")
    ] = None,
    network: Network = "",
    out: Out = Path("runs"),
) -> None:
    """Export a run's generator to one or several formats, and verify each file against the network."""
    from ganforge.export.targets import choose_targets, make_exporters
    from ganforge.runs.shipped import output_folder

    flags = {"torchscript": torchscript, "onnx": onnx, "pt2": pt2, "safetensors": safetensors}
    folders = {name: folder for name, folder in (("cpp-project", cpp_project), ("web", web)) if folder is not None}
    files = [name for name, is_given in flags.items() if is_given] + (formats or [])
    names = list(dict.fromkeys([*files, *folders])) or [DEFAULT]
    exporters = make_exporters(names, settings or [], open_registry())
    weights = find_weights(run, out, network)
    free = {name: exporter for name, exporter in exporters.items() if name not in folders}
    targets = choose_targets(free, to, output_folder(weights.parent, out) / "export" / network) | folders

    import torch

    from ganforge.plugins.part_errors import part_errors
    from ganforge.runs.origin import describe_origin, write_origin

    generator, card = open_generator(weights, torch.device("cpu"))
    for name, exporter in exporters.items():
        with part_errors("exporter", name):
            report = exporter.export(generator, card, targets[name])
        say(
            f"{name}: equal to the network within {report.worst_difference:.1e} on {report.num_examples} "
            f"{report.compared}"
        )
        write_origin(report.path, card)
        print_result(str(report.path))
    say(", ".join(f"{name}: {text}" for name, text in describe_origin(card).items()))
