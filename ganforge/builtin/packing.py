"""Packed discriminators (PacGAN, Lin 2018, arXiv:1712.04086).

A pack of equal generated examples differs clearly from a pack of real ones, which penalizes mode collapse.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ganforge import DataSpec, Discriminator, FeatureDiscriminator, OptionError, hookimpl
from ganforge.builtin.dcgan import DCGANDiscriminator
from ganforge.builtin.mlp import MLPDiscriminator


class PackedDiscriminator(FeatureDiscriminator):
    """Concatenates examples to packs for another discriminator; labels are ignored.

    Args:
        inner: Discriminator of examples with `pack` times as many channels, or numbers.
        pack: Examples per pack, at least 2; the batch must be a multiple.
    """

    def __init__(self, inner: FeatureDiscriminator, pack: int) -> None:
        super().__init__()
        self.inner = inner
        self.pack = pack

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        if len(images) % self.pack:
            raise OptionError(
                f"a batch of {len(images)} is not a multiple of the pack size {self.pack}",
                f"set --batch to a multiple of {self.pack}",
            )
        packs = images.reshape(len(images) // self.pack, self.pack * images.shape[1], *images.shape[2:])
        return self.inner.features(packs)

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.inner.head(features)


class PackedDCGAN(PackedDiscriminator):
    """Discriminator of DCGAN on packs of images, concatenated as channels (Lin 2018).

    Args:
        data: Shape of an image, as for `dcgan`.
        width: Channels of the first hidden map, as for `dcgan`.
        max_width: Maximum number of channels.
        normalization: ``batch``, ``layer`` or ``none``, as for `dcgan`.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        pack: int = 2,
        width: int = 64,
        max_width: int = 1024,
        normalization: Literal["batch", "layer", "none"] = "batch",
    ) -> None:
        _check_pack(pack)
        inner = DCGANDiscriminator(data, width=width, max_width=max_width, normalization=normalization)
        # As in the paper, only the first layer's input channels differ.
        first = nn.Conv2d(pack * data.shape[0], min(width, max_width), 4, stride=2, padding=1)
        nn.init.normal_(first.weight, 0.0, 0.02)
        nn.init.zeros_(first.bias)  # type: ignore[arg-type]
        inner.layers[0] = first
        super().__init__(inner, pack)


class PackedMLP(PackedDiscriminator):
    """Fully connected discriminator on packs of examples, concatenated (Lin 2018).

    Args:
        data: Shape of an example.
        hidden: Sizes of the hidden layers.
        dropout: Dropout probability of hidden units, in [0, 1); none: the default of `mlp`.
    """

    def __init__(
        self, data: DataSpec, *, pack: int = 2, hidden: tuple[int, ...] = (1024, 512, 256), dropout: float | None = None
    ) -> None:
        _check_pack(pack)
        packed = DataSpec((pack * data.shape[0], *data.shape[1:]))
        super().__init__(MLPDiscriminator(packed, hidden=hidden, dropout=dropout), pack)


def _check_pack(pack: int) -> None:
    if pack < 2:
        raise ValueError(f"pack={pack} must be at least 2")


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    return {"dcgan-packed": PackedDCGAN, "mlp-packed": PackedMLP}
