"""Feature extractor from a TorchScript file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.extractor import Extractor
from ganforge.evaluation.extractors.published import load_torchscript, read_file


class TorchScriptExtractor(Extractor):
    """Network in a TorchScript file, which contains code: open trusted files only.

    It maps images ``[N, C, H, W]`` to features ``[N, D]``, or to a pair of features and logits ``[N, K]``.

    Args:
        data: Supported images.
        weights: TorchScript file.
        pixels: Input: ``signed`` is float32 in [-1, 1], ``unit`` float32 in [0, 1], ``bytes`` uint8.
    """

    def __init__(
        self, data: DataSpec, *, weights: str = "", pixels: Literal["signed", "unit", "bytes"] = "signed"
    ) -> None:
        super().__init__()
        if not weights:
            raise OptionError("extractor 'torchscript' needs weights", "use --extractor FILE.pt")
        path = Path(weights).expanduser()
        content = read_file(path)
        self.weights_sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.network = load_torchscript(content, "cpu").eval()
        except RuntimeError as error:
            raise CheckpointError(f"{path}: is not TorchScript, or damaged", "write it by torch.jit.save") from error
        self.label = f"{path.stem}-{self.weights_sha256[:8]}"
        self.pixels = pixels
        self.preprocessing = f"none, images of {data.shape[1]}x{data.shape[2]}, {pixels}"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        given = images if self.pixels == "bytes" else images.float() / 127.5 - 1
        found = self.network((given + 1) / 2 if self.pixels == "unit" else given)
        return (found, None) if isinstance(found, Tensor) else (found[0], found[1])
