"""Small networks that losses and penalties are checked on."""

from __future__ import annotations

from torch import Tensor, nn

from ganforge.interfaces import ClassifierDiscriminator, Generator


class SmallGenerator(Generator):
    """From 4 numbers to 3."""

    z_dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents ``[N, 4]`` to vectors ``[N, 3]``."""
        output: Tensor = self.layers(z)
        return output


class SmallDiscriminator(ClassifierDiscriminator):
    """Of 3 numbers, of 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Softplus())
        self.judge = nn.Linear(8, 1)
        self.classes = nn.Linear(8, 3)

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """``[N, 8]`` of vectors ``[N, 3]``."""
        output: Tensor = self.layers(images)
        return output

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits ``[N]``."""
        logits: Tensor = self.judge(features)
        return logits.squeeze(1)

    def classify(self, features: Tensor) -> Tensor:
        """Scores ``[N, 3]``."""
        scores: Tensor = self.classes(features)
        return scores
