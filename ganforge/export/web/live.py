"""The web page of a generator that runs in this process, for a server on the loopback interface."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.networks import Generator
from ganforge.core.loopback import HTML, Answer
from ganforge.export.description import describe, describe_portable
from ganforge.export.portable import Part, Portable
from ganforge.export.web.files import INDEX, assign, page_files
from ganforge.export.web.model import describe_model
from ganforge.runs.checkpoint import digest_tensors, read_spec
from ganforge.runs.marking import xmp_packet

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the page."""

_TYPES = {".html": HTML, ".js": "text/javascript; charset=utf-8", ".css": "text/css", ".svg": "image/svg+xml"}

_NUMBERS = "application/octet-stream"


class LivePage:
    """Files of the page, and outputs of the network for its requests.

    Args:
        generator: On the CPU, in evaluation mode; it makes images from latents.
        card: Of the generator's file.
    """

    def __init__(self, generator: Generator, card: Mapping[str, Any]) -> None:
        names: tuple[Part, ...] = ("mapping", "synthesis") if isinstance(generator, StyleGenerator) else ("whole",)
        self._parts: dict[str, Portable] = {name: Portable(generator, read_spec(card), name) for name in names}
        digest = digest_tensors(generator.state_dict())
        texts = {}
        for name, part in self._parts.items():
            calls = describe_portable(part)
            about = describe(card, part.data, calls, file_format="live", precision="float32", device="cpu")
            texts[name] = {**about, "digest": digest}
        self._inputs = {name: each["inputs"] for name, each in texts.items()}
        packet = xmp_packet(card, "{seeds}").decode()
        model = {**describe_model(generator, card, texts), "runtime": torch.__version__, "packet": packet}
        inputs = {name: list(each) for name, each in self._inputs.items()}
        self._files = page_files("live.js", runtime="torch", connect="'self'") | {
            "model.js": assign("model", model) + assign("inputs", inputs)
        }
        self._lock = threading.Lock()

    def answer(self, path: str, body: bytes | None) -> Answer | None:
        """Return a file of the page, or the output of a part of the network.

        Args:
            path: ``/`` or ``/FILE``; ``/PART`` with a body.
            body: All inputs of the part, float32, concatenated in their order, for one image; None for a file.

        Returns:
            A file; or the output, float32; or None if the path is not found or the body has another size.
        """
        name = path.removeprefix("/") or INDEX
        if body is None:
            content = self._files.get(name)
            return None if content is None else Answer(content, _TYPES[PurePosixPath(name).suffix])
        inputs = self._read(name, body)
        if inputs is None:
            return None
        with self._lock, torch.inference_mode():
            output = self._parts[name](*inputs)
        return Answer(output.numpy().tobytes(), _NUMBERS)

    def _read(self, part: str, body: bytes) -> list[Tensor] | None:
        """Return the inputs of a part; None if the part is unknown or the size of the body is wrong."""
        described = self._inputs.get(part, {})
        shapes = {name: [1 if size == "N" else size for size in each["shape"]] for name, each in described.items()}
        sizes = [math.prod(shape) for shape in shapes.values()]
        if not shapes or len(body) != 4 * sum(sizes):
            return None
        numbers = torch.from_numpy(np.frombuffer(body, "<f4").copy()).nan_to_num().split_with_sizes(sizes)
        inputs = {name: each.view(shape) for each, (name, shape) in zip(numbers, shapes.items(), strict=True)}
        for name, each in described.items():
            if each["dtype"] == "int64":
                low, high = each.get("range", (None, None))
                inputs[name] = inputs[name].clamp(low, high).long()
        return list(inputs.values())
