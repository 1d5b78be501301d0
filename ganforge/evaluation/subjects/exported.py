"""Exported files as subjects."""

from __future__ import annotations

import hashlib
import importlib.util
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.core.images import to_uint8
from ganforge.core.json_schema import parse_json
from ganforge.evaluation.extractors.published import load_torchscript, read_file
from ganforge.evaluation.subjects.subject import Subject
from ganforge.sampling import draw_latents

DESCRIPTION = "ganforge.json"
"""Name of the metadata in an exported file."""

OTHERS = "other programs: evaluate a folder or zip of their images, or read their checkpoint by ganforge import"


class ExportedSubject(Subject):
    """Generator in a file that `ganforge export` wrote, with its bytes and metadata; each format has a subclass.

    Image i equals that of `ganforge.generate` for the same seed, class and truncation, with fixed noise.
    """

    kind: str

    def __init__(self, path: Path, content: bytes, text: str) -> None:
        try:
            described = parse_json(text or "{}")
            part, output = described.get("part", "whole"), described["output"]
            if part != "whole":
                raise CheckpointError(
                    f"{path}: holds only the {part} half of a generator",
                    "export it again without --set onnx.part",
                )
            self.inputs: Mapping[str, Any] = described["inputs"]
            self.z_dim = int(self.inputs["z"]["shape"][1])
            self.shape = tuple(map(int, output["shape"][1:]))
            self.num_classes = len(described["class_names"])
            labels = tuple(map(int, self.inputs.get("labels", {}).get("shape", [])[1:]))
            self.source_shape = labels if len(labels) == 3 else ()
            self.num_numbers = labels[0] if len(labels) == 1 else 0
            self.about = {
                "kind": self.kind,
                "name": str(path),
                "digest": hashlib.sha256(content).hexdigest(),
                "weights": described["card"].get("weights"),
                "images_seen": described["card"].get("images"),
                "trained_on": described["data_fingerprint"],
                "precision": described["precision"],
                "made_of": described["card"].get("digest"),
            }
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
            raise CheckpointError(f"{path}: has no valid metadata of ganforge export", OTHERS) from None
        if output["meaning"] != "images":
            raise OptionError(f"{path}: generates vectors, and features need images", "evaluate its run")
        self.described = described
        self.home = path.resolve().parent

    def draw(self, start: int, count: int, *, seed: int, labels: Tensor | None, truncation: float) -> Tensor:
        if truncation != 1.0 and "truncation" not in self.inputs:
            raise OptionError(f"{self.about['name']}: cannot be truncated", "leave --truncation out")
        if labels is None and self.num_classes:
            raise OptionError(f"{self.about['name']}: needs labels of {self.num_classes} classes", "give labels")
        if labels is None and self.num_numbers:
            raise OptionError(f"{self.about['name']}: needs vectors of {self.num_numbers} numbers", "give labels")
        if labels is None and self.source_shape:
            raise OptionError(f"{self.about['name']}: needs source images", "give them as labels")
        z = draw_latents(count, self.z_dim, seed + start)
        with torch.no_grad():
            return to_uint8(self.compute(z, labels, truncation)).cpu()

    @abstractmethod
    def compute(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """Return images float ``[N, C, H, W]`` in [-1, 1] of latents ``[N, z_dim]`` and classes ``[N]`` on the CPU."""


class TorchScriptSubject(ExportedSubject):
    """TorchScript file. It contains code that runs when the file is opened: open trusted files only."""

    kind = "torchscript"

    def __init__(self, path: Path, device: torch.device) -> None:
        content, texts = read_file(path), {DESCRIPTION: ""}
        try:
            self.network = load_torchscript(content, device, texts).eval()
        except RuntimeError:
            raise CheckpointError(f"{path}: is not TorchScript, or damaged", OTHERS) from None
        super().__init__(path, content, texts[DESCRIPTION])
        self.device = device

    def compute(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        options = {} if truncation == 1.0 else {"truncation": truncation}
        classes = None if labels is None else labels.to(self.device)
        images: Tensor = self.network(z.to(self.device), classes, **options)
        return images


class OnnxSubject(ExportedSubject):
    """ONNX graph, computed on the CPU by ONNX Runtime."""

    kind = "onnx"

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise OptionError(f"{path}: onnxruntime is not installed", 'pip install "ganforge[onnx]"')
        import onnxruntime  # type: ignore[import-untyped]

        content, settings = read_file(path), onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
        except Exception:  # ONNX Runtime errors have no other common base
            raise CheckpointError(
                f"{path}: is no ONNX graph for ONNX Runtime, or damaged",
                "write it by ganforge export --onnx",
            ) from None
        super().__init__(path, content, self.session.get_modelmeta().custom_metadata_map.get(DESCRIPTION, ""))
        self.about = {**self.about, "engine": f"onnxruntime {onnxruntime.__version__} on the CPU"}

    def compute(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        try:
            return self._run(z, labels, truncation)
        except Exception as error:  # the metadata can be wrong in any way
            text = " ".join(str(error).split())
            raise CheckpointError(
                f"{self.about['name']}: cannot generate: {type(error).__name__}: {text}",
                "write it by ganforge export --onnx",
            ) from error

    def _run(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        given: dict[str, Any] = {"z": z.numpy(), "truncation": np.float32(truncation)}
        if labels is not None:
            given["labels"] = labels.numpy()
        if "cutoff" in self.inputs:
            given["cutoff"] = np.int64(self.inputs["cutoff"]["default"])
        if "noise" in self.inputs:
            noise = self.described["noise"]
            given["noise"] = np.zeros((len(z), noise["size"]), np.float32)
            given["fixed_noise"] = np.asarray(noise["modes"]["fixed"], np.float32)
        (images,) = self.session.run(None, {name: np.asarray(given[name]) for name in self.described["order"]})
        return torch.from_numpy(images)


def open_exported(path: Path, device: torch.device) -> ExportedSubject:
    """Open an exported file by its extension; a TorchScript file runs code."""
    if path.suffix == ".pt":
        return TorchScriptSubject(path, device)
    if path.suffix == ".onnx":
        return OnnxSubject(path)
    raise OptionError(
        f"{path}: {path.suffix or 'files without extension'} cannot be evaluated",
        f"use a run, generator.safetensors, or an exported .pt or .onnx file; {OTHERS}",
    )
