"""Small networks for checks of losses and regularizers."""

from __future__ import annotations

from torch import Tensor, nn

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.networks import ClassifierDiscriminator


class SmallGenerator(StyleGenerator):
    """Generator from ``z`` of 4 numbers to vectors of 3, with two styles."""

    z_dim = 4
    w_dim = 8
    num_styles = 2

    def __init__(self) -> None:
        super().__init__()
        self.mapper = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
        self.layers = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))

    def mapping(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, cutoff: int = -1) -> Tensor:
        w: Tensor = self.mapper(z)
        return w[:, None].expand(-1, 2, -1)

    def synthesis(self, w: Tensor, noise: str = "fixed") -> Tensor:
        output: Tensor = self.layers(w.flatten(1))
        return output


class SmallDiscriminator(ClassifierDiscriminator):
    """Discriminator of vectors of 3 numbers with 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Softplus())
        self.judge = nn.Linear(8, 1)
        self.classes = nn.Linear(8, 3)

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        output: Tensor = self.layers(images)
        return output

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.judge(features)
        return logits.squeeze(1)

    def classify(self, features: Tensor) -> Tensor:
        scores: Tensor = self.classes(features)
        return scores
