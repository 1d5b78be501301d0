"""The Inception v3 of the first FID paper, whose results alone are called FID."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor, nn

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.extractor import Extractor
from ganforge.evaluation.extractors.inception_network import Inception, quicken
from ganforge.evaluation.extractors.published import PublishedFile, read_converted

FILE_NAME = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE_NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "GANFORGE_INCEPTION_WEIGHTS"

_EXPECTED = f"{FILE_NAME} (91 MiB, SHA-256 {SHA256[:8]}...)"


class InceptionExtractor(Extractor):
    """Inception v3 with the weights that torch-fidelity ported from the first FID paper's TensorFlow graph.

    Features are those of its last pooling, D = 2048, and logits those of its 1008 classes without their bias, as that
    library takes them for the inception score.

    Args:
        data: Images of 1 channel, which is repeated, or of 3.
        weights: File of its weights; empty to look for it, see `find_weights`.
    """

    preprocessing = "TF1 bilinear to 299, no antialias, as in torch-fidelity"

    def __init__(self, data: DataSpec, *, weights: str = "") -> None:
        super().__init__()
        if not data.is_image or data.shape[0] not in (1, 3):
            raise OptionError(
                f"extractor 'inception': images have {data.shape[0]} channels",
                "it needs 1 or 3; take --extractor classifier",
            )
        path = find_weights(Path(weights) if weights else None)
        state, self.weights_sha256 = read_converted(path, _EXPECTED)
        self.is_published = self.weights_sha256 == SHA256
        self.label = "inception" if self.is_published else f"inception-{self.weights_sha256[:8]}"
        if not self.is_published:
            self.notes = ("these are not the published Inception weights: nothing made with them is FID",)
        try:
            self.network = Inception(state)
        except ValueError as error:
            raise CheckpointError(
                f"{path} holds the weights of another network: {error}", f"expected {_EXPECTED}"
            ) from error
        quicken(self.network)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Extractor.forward`."""
        features, logits = self.network(images.expand(-1, 3, -1, -1))
        return features, logits


class InceptionFeatures(nn.Module):
    """The features of `InceptionExtractor` for images that need not be whole numbers of [0, 255], as FID's are.

    Two images that differ by less than half a level are one and the same to FID.

    Args:
        extractor: Whose network is used.
    """

    def __init__(self, extractor: InceptionExtractor) -> None:
        super().__init__()
        self.network = extractor.network

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[N, 2048]`` of images ``[N, 3, H, W]`` in [-1, 1]."""
        return self.network.features(images * 127.5 + 127.5)


def find_weights(weights: Path | None) -> Path:
    """The file of weights to use: the one named, else ``$GANFORGE_INCEPTION_WEIGHTS``, else torch-fidelity's own.

    torch-fidelity keeps its file in ``checkpoints`` under the folder of ``torch.hub``. If it is not there yet, it is
    downloaded; its SHA-256 is compared with the published one before anything else is done with it.

    Raises:
        CheckpointError: The file that was named does not exist, or none was and it cannot be downloaded.
    """
    variable = os.environ.get(VARIABLE)
    for path, source in ((weights, "--inception-weights"), (Path(variable) if variable else None, f"${VARIABLE}")):
        if path is not None:
            path = path.expanduser()
            if not path.is_file():
                raise CheckpointError(f"{source}: there is no file {path}", f"expected {_EXPECTED}")
            return path
    return PublishedFile(FILE_NAME, URL, SHA256, _EXPECTED).find(
        "FID", "by --inception-weights FILE; labelled images can do with --extractor classifier"
    )
