"""Exported files as subjects: what is shipped is evaluated as it is, not the network that it was made of."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.core.atomic_files import read_bytes
from ganforge.core.images import to_uint8
from ganforge.core.json_schema import parse_json
from ganforge.evaluation.subjects.subject import Subject
from ganforge.sampling import draw_latents

DESCRIPTION = "ganforge.json"
"""Under which name a file holds what it says of itself."""


class ExportedSubject(Subject):
    """A generator in a file that `ganforge export` wrote; a class for each format says how it is called.

    Image i is that which `ganforge.generate` draws for the same seed, class and truncation, with fixed noise.

    Args:
        path: The file.
        content: Its bytes.
        text: What it says of itself, as JSON; empty if it says nothing.

    Raises:
        CheckpointError: Ganforge has not written it, or it is half of a generator.
        OptionError: It draws no images.
    """

    kind: str
    """Name of the format."""

    def __init__(self, path: Path, content: bytes, text: str) -> None:
        try:
            described = parse_json(text or "{}")
            part, output = described.get("part", "whole"), described["output"]
            if part != "whole":
                raise CheckpointError(
                    f"{path}: holds the {part} half of a generator alone",
                    "export it again without --set onnx.part",
                )
            self.inputs: Mapping[str, Any] = described["inputs"]
            self.z_dim = int(self.inputs["z"]["shape"][1])
            self.shape = tuple(map(int, output["shape"][1:]))
            self.num_classes = len(described["class_names"])
            self.source_shape = tuple(map(int, self.inputs.get("labels", {}).get("shape", [])[1:]))
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
            raise CheckpointError(
                f"{path}: says of itself nothing that ganforge knows", "give a file that ganforge export wrote"
            ) from None
        if output["meaning"] != "images":
            raise OptionError(f"{path}: draws vectors, and only images are compared by features", "evaluate its run")
        self.described = described
        self.home = path.resolve().parent

    def draw(self, start: int, count: int, *, seed: int, labels: Tensor | None, truncation: float) -> Tensor:
        """See `Subject.draw`.

        Raises:
            OptionError: A truncation where there is none, or no labels where there are classes or sources.
        """
        if truncation != 1.0 and "truncation" not in self.inputs:
            raise OptionError(f"{self.about['name']}: cannot be truncated", "leave --truncation out")
        if labels is None and self.num_classes:
            raise OptionError(f"{self.about['name']}: draws images of {self.num_classes} classes", "give labels")
        if labels is None and self.source_shape:
            raise OptionError(f"{self.about['name']}: makes its images of others", "give them as labels")
        z = draw_latents(count, self.z_dim, seed + start)
        with torch.no_grad():
            return to_uint8(self.compute(z, labels, truncation)).cpu()

    @abstractmethod
    def compute(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """Images, floats ``[N, C, H, W]`` in [-1, 1], of latents ``[N, z_dim]`` and classes ``[N]``, on the CPU."""


class TorchScriptSubject(ExportedSubject):
    """A TorchScript file. It holds code, which runs when it is opened and when it draws: give one that you trust.

    Args:
        path: The file.
        device: Where it computes.

    Raises:
        CheckpointError: It cannot be read, is no such file, or is damaged; or as `ExportedSubject`.
        OptionError: As `ExportedSubject`.
    """

    kind = "torchscript"

    def __init__(self, path: Path, device: torch.device) -> None:
        content, texts = _read(path), {DESCRIPTION: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.network = torch.jit.load(io.BytesIO(content), map_location=device, _extra_files=texts).eval()  # type: ignore[no-untyped-call]
        except RuntimeError:
            raise CheckpointError(
                f"{path}: is no TorchScript file, or a damaged one", "write it by ganforge export --torchscript"
            ) from None
        super().__init__(path, content, texts[DESCRIPTION])
        self.device = device

    def compute(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """See `ExportedSubject.compute`."""
        options = {} if truncation == 1.0 else {"truncation": truncation}
        classes = None if labels is None else labels.to(self.device)
        images: Tensor = self.network(z.to(self.device), classes, **options)
        return images


class OnnxSubject(ExportedSubject):
    """An ONNX graph. ONNX Runtime computes it on the CPU, on whichever device features are computed.

    Args:
        path: The file.

    Raises:
        CheckpointError: It cannot be read, is no such file, or is damaged; or as `ExportedSubject`.
        OptionError: ONNX Runtime is missing; or as `ExportedSubject`.
    """

    kind = "onnx"

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise OptionError(f"{path}: to evaluate it, onnxruntime is needed", 'pip install "ganforge[onnx]"')
        import onnxruntime  # type: ignore[import-untyped]

        content, settings = _read(path), onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
        except Exception:  # of classes that have no base but this one
            raise CheckpointError(
                f"{path}: is no ONNX graph that ONNX Runtime can run, or a damaged one",
                "write it by ganforge export --onnx",
            ) from None
        super().__init__(path, content, self.session.get_modelmeta().custom_metadata_map.get(DESCRIPTION, ""))
        self.about = {**self.about, "engine": f"onnxruntime {onnxruntime.__version__} on the CPU"}

    def compute(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """See `ExportedSubject.compute`."""
        try:
            return self._run(z, labels, truncation)
        except Exception as error:  # what it says of itself can be wrong in any way
            text = " ".join(str(error).split())
            raise CheckpointError(
                f"{self.about['name']}: cannot draw: {type(error).__name__}: {text}",
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
    """The generator in an exported file. Opening a TorchScript file runs code that it holds.

    Args:
        path: Of which format it is, its ending says.
        device: Where TorchScript computes; see `OnnxSubject` for ONNX.

    Raises:
        CheckpointError: It cannot be read, is damaged, half of a generator, or was not written by ganforge.
        OptionError: Files of that ending cannot be evaluated; what is needed is not installed; it draws no images.
    """
    if path.suffix == ".pt":
        return TorchScriptSubject(path, device)
    if path.suffix == ".onnx":
        return OnnxSubject(path)
    raise OptionError(
        f"{path}: a {path.suffix or 'nameless'} file cannot be evaluated",
        "runs, generator.safetensors, exported .pt and .onnx files, and folders and zips of images can",
    )


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
