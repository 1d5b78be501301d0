"""Calls of a generator and of the files to which it is exported, with all that they are given at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.networks import Generator
from ganforge.export.scripting import quiet


def call_eager(generator: Generator, inputs: Mapping[str, Tensor]) -> Callable[[], Any]:
    """A call of the network as `ganforge sample` makes it; latents lie ready."""
    z, labels = inputs["z"], inputs.get("labels")
    return lambda: generator(z, labels)


def call_torchscript(path: Path, inputs: Mapping[str, Tensor]) -> Callable[[], Any]:
    """A call of a TorchScript file."""
    with quiet():
        network = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    z, labels = inputs["z"], inputs.get("labels")
    return lambda: network(z, labels)


def call_onnx(path: Path, inputs: Mapping[str, Tensor]) -> Callable[[], Any]:
    """A call of an ONNX file by ONNX Runtime.

    Its threads do not wait for the next call by spinning, as they would: they would take time from what comes next.
    """
    onnxruntime = import_module("onnxruntime")  # which is not among what ganforge requires
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {name: each.numpy() for name, each in inputs.items()}
    return lambda: session.run(None, feeds)


def call_inductor(path: Path, inputs: Mapping[str, Tensor]) -> Callable[[], Any]:
    """A call of a package of AOTInductor."""
    network = torch._inductor.aoti_load_package(str(path))
    values = list(inputs.values())
    return lambda: network(*values)


LOADERS: dict[str, Callable[[Path, Mapping[str, Tensor]], Callable[[], Any]]] = {
    ".pt": call_torchscript,
    ".onnx": call_onnx,
    ".pt2": call_inductor,
}
"""What loads a file, by the ending of its name. Each batch has a network loaded for itself, as in C++: it may settle on
the sizes that it sees first."""
