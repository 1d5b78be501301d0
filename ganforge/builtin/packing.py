"""Discriminators that judge several examples at once (PacGAN, Lin 2018, arXiv:1712.04086).

A pack of generated examples that are all alike is told from a pack of real ones at a glance, so that a generator which
leaves modes out is punished more than it would be example by example.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ganforge import DataSpec, Discriminator, FeatureDiscriminator, OptionError, hookimpl
from ganforge.builtin.dcgan import DCGANDiscriminator
from ganforge.builtin.mlp import MLPDiscriminator


class PackedDiscriminator(FeatureDiscriminator):
    """Puts examples together and lets another discriminator judge each pack.

    Args:
        inner: A discriminator of examples with `pack` times as many channels, or numbers.
        pack: Examples in a pack; at least 2.
    """

    def __init__(self, inner: FeatureDiscriminator, pack: int) -> None:
        super().__init__()
        self.inner = inner
        self.pack = pack

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The last hidden layer ``[N / pack, F]`` from examples ``[N, ...]``; labels are not used.

        Raises:
            OptionError: The batch is no whole number of packs.
        """
        if len(images) % self.pack:
            raise OptionError(
                f"a batch of {len(images)} is no whole number of packs of {self.pack}",
                f"give --batch a multiple of {self.pack}",
            )
        packs = images.reshape(len(images) // self.pack, self.pack * images.shape[1], *images.shape[2:])
        return self.inner.features(packs)

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits ``[N / pack]``."""
        return self.inner.head(features)


class PackedDCGAN(PackedDiscriminator):
    """The discriminator of DCGAN on packs of images, which lie over one another as channels (Lin 2018).

    Args:
        data: Shape of an image, as `dcgan` takes it.
        pack: Images in a pack; the batch must be a multiple of it.
        width: Channels of the first hidden map, as of `dcgan`.
        max_width: Most channels of any map.
        normalization: ``batch``, ``layer`` or ``none``, as of `dcgan`.
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
        # As in the paper, nothing differs but the number of channels that go into the first layer.
        first = nn.Conv2d(pack * data.shape[0], min(width, max_width), 4, stride=2, padding=1)
        nn.init.normal_(first.weight, 0.0, 0.02)
        nn.init.zeros_(first.bias)  # type: ignore[arg-type]
        inner.layers[0] = first
        super().__init__(inner, pack)


class PackedMLP(PackedDiscriminator):
    """The fully connected discriminator on packs of examples, joined end to end (Lin 2018).

    Args:
        data: Shape of an example.
        pack: Examples in a pack; the batch must be a multiple of it.
        hidden: Sizes of the hidden layers.
        dropout: Share of hidden units dropped in training; in [0, 1); left to `mlp` if none.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        pack: int = 2,
        hidden: tuple[int, ...] = (1024, 512, 256),
        dropout: float | None = None,
    ) -> None:
        _check_pack(pack)
        packed = DataSpec((pack * data.shape[0], *data.shape[1:]))
        super().__init__(MLPDiscriminator(packed, hidden=hidden, dropout=dropout), pack)


def _check_pack(pack: int) -> None:
    if pack < 2:
        raise ValueError(f"pack={pack} must be at least 2")


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Offer the discriminators."""
    return {"dcgan-packed": PackedDCGAN, "mlp-packed": PackedMLP}
