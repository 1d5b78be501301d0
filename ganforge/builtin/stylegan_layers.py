"""What the networks of StyleGAN share: sizes of maps, and the layer that takes a style."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ganforge import AdaIN, DataSpec, NoiseInjection

RELU_GAIN = 2**0.5
"""What keeps the size of features through a convolution and a ReLU (He 2015)."""


def channels_by_size(data: DataSpec, width: int, max_width: int) -> list[int]:
    """Channels of the maps from the image's size down to 4 x 4."""
    if not data.is_image:
        raise ValueError(f"needs images, but an example is a vector of {data.shape[0]}; use --arch mlp")
    channels, height, pixels = data.shape
    sizes = [2**power for power in range(3, 11)]
    if height != pixels or pixels not in sizes:
        closest = min(sizes, key=lambda size: abs(size - min(height, pixels)))
        raise ValueError(
            f"images are {pixels}x{height}, but must be square with a power of two; use --resolution {closest}"
        )
    if not 1 <= channels <= 4:
        raise ValueError(f"images have {channels} channels, but must have 1 to 4")
    for name, value in (("width", width), ("max_width", max_width)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1, such as 16")
    return [min(width * 2**level, max_width) for level in range(pixels.bit_length() - 2)]


class StyledLayer(nn.Module):
    """What comes before, then noise, leaky ReLU 0.2, and the style by AdaIN.

    Args:
        before: What gives the layer its maps.
        channels: C of these maps.
        size: Their height and width.
        w_dim: Length of a style vector.
    """

    def __init__(self, before: nn.Module, channels: int, size: int, w_dim: int) -> None:
        super().__init__()
        self.before = before
        self.noise = NoiseInjection(channels, size)
        self.adain = AdaIN(channels, w_dim)

    def forward(self, x: Tensor, w: Tensor, noise: str) -> Tensor:
        """Maps to maps ``[N, C, size, size]``, by styles ``[N, w_dim]``; noise as in `NoiseInjection`."""
        maps: Tensor = self.adain(leaky_relu(self.noise(self.before(x), noise), 0.2), w)
        return maps
