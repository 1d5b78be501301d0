"""Inception v3 of the first FID paper, the only network whose results are named FID."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError
from ganforge.contract.extractor import Extractor
from ganforge.evaluation.extractors.inception_network import Inception, quicken
from ganforge.evaluation.extractors.pixels import require_photographs
from ganforge.evaluation.extractors.published import PublishedFile, find_given, read_converted

FILE_NAME = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE_NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "GANFORGE_INCEPTION_WEIGHTS"

_EXPECTED = f"{FILE_NAME} (91 MiB, SHA-256 {SHA256[:8]}...)"
_PREPROCESSING = {
    "tensorflow": "TF1 bilinear to 299, no antialias, as in torch-fidelity",
    "clean": "bicubic to 299, antialiased, in float, as in clean-fid",
}


class InceptionExtractor(Extractor):
    """Inception v3 with the weights that torch-fidelity ported from the TensorFlow graph of the first FID paper.

    Features are those of the last pooling, D = 2048; logits are those of its 1008 classes without bias, as
    torch-fidelity uses them for the inception score.

    Args:
        data: Images of 1 channel, which is repeated, or of 3.
        weights: Weight file; empty to search for it, see `find_weights`.
        resize: ``tensorflow`` as in the first FID paper, or ``clean`` as in clean-fid (Parmar et al. 2022,
            arXiv:2104.11222): bicubic with antialiasing, in float. Results of the latter are named ``fid_clean``.
    """

    def __init__(
        self, data: DataSpec, *, weights: str = "", resize: Literal["tensorflow", "clean"] = "tensorflow"
    ) -> None:
        super().__init__()
        require_photographs(data, "inception")
        path = find_weights(Path(weights) if weights else None)
        state, self.weights_sha256 = read_converted(path, _EXPECTED)
        self.is_published = self.weights_sha256 == SHA256
        self.is_clean = resize == "clean"
        self.preprocessing = _PREPROCESSING[resize]
        digest = "" if self.is_published else self.weights_sha256[:8]
        self.label = "-".join(filter(None, ("inception", "clean" * self.is_clean, digest)))
        if not self.is_published:
            self.notes = ("these are not the published Inception weights: nothing made with them is FID",)
        try:
            self.network = Inception(state, clean=self.is_clean)
        except ValueError as error:
            raise CheckpointError(
                f"{path} holds the weights of another network: {error}", f"expected {_EXPECTED}"
            ) from error
        quicken(self.network)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        features, logits = self.network(images.expand(-1, 3, -1, -1))
        return features, logits


class InceptionFeatures(nn.Module):
    """Features ``[N, 2048]`` of `InceptionExtractor` for float images ``[N, 3, H, W]`` in [-1, 1].

    FID rounds images to integers in [0, 255]; path lengths need smaller differences.
    """

    def __init__(self, extractor: InceptionExtractor) -> None:
        super().__init__()
        self.network = extractor.network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.features(images * 127.5 + 127.5)


def find_weights(weights: Path | None) -> Path:
    """Find the weight file: the given one, else ``$GANFORGE_INCEPTION_WEIGHTS``, else torch-fidelity's, downloaded if
    missing.
    """
    if given := find_given(weights, "--inception-weights", VARIABLE):
        path, source = given
        if not path.is_file():
            raise CheckpointError(f"{source}: file {path} not found", f"expected {_EXPECTED}")
        return path
    return PublishedFile(FILE_NAME, URL, SHA256, _EXPECTED).find(
        "FID", "by --inception-weights FILE; or use --extractor classifier for labeled images, random for others"
    )
