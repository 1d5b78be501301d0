"""Classifier of the data as a feature extractor, for data unlike photographs."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.extractor import Extractor
from ganforge.evaluation.classifier import load_classifier


class ClassifierExtractor(Extractor):
    """Classifier made by ``ganforge extractor train``, for images of the size of its training data.

    Features are the spatial means of its last convolution, D = 128; logits are those of its classes.

    Args:
        data: Data that the run was trained on.
        weights: Classifier file.
    """

    def __init__(self, data: DataSpec, *, weights: str = "") -> None:
        super().__init__()
        if not weights:
            raise OptionError("extractor 'classifier' needs weights", "train one: ganforge extractor train --data SET")
        classifier = load_classifier(Path(weights))
        if classifier.shape != data.shape:
            raise OptionError(
                f"{weights}: takes images {list(classifier.shape)}, these are {list(data.shape)}",
                "train one on such images: ganforge extractor train --data SET",
            )
        self.label = f"{classifier.data_name}-classifier"
        height, width = classifier.shape[1:]
        self.preprocessing = f"none, images of {height}x{width} in [-1, 1]"
        self.accuracy = classifier.accuracy
        self.trunk, self.head = classifier.halves()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        maps = self.trunk(images.float() / 127.5 - 1)
        return maps.mean(dim=(2, 3)), self.head(maps)
