"""Effect of noise in a style-based generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.core.accelerator import fork_random_state
from ganforge.core.images import to_uint8
from ganforge.explore.spaces import Source, WSpace

PANELS = {"all": "fixed", "none": "none", "only fine": "only-fine", "only coarse": "only-coarse"}
"""Panels of the paper's figure 5, and the noise mode of each."""


@dataclass(frozen=True)
class NoiseStudy:
    """Effect of noise on N images.

    Attributes:
        panels: Images uint8 ``[N, 4, C, H, W]`` in the order of `PANELS`.
        powers: Power that the noise of each panel adds, ``[4, B]``; see `power_by_frequency`.
        deviation: Standard deviation of pixels over draws, mean over channels, in [-1, 1]; ``[N, H, W]``.
    """

    panels: Tensor
    powers: Tensor
    deviation: Tensor

    def maps(self) -> Tensor:
        """Return the deviations as images, uint8 ``[N, 1, H, W]``: black is 0, white the maximum."""
        return (self.deviation / self.deviation.max().clamp_min(1e-12) * 255).round().to(torch.uint8)[:, None]


@torch.no_grad()
def study_noise(space: WSpace, sources: Sequence[Source], *, draws: int = 32, noise_seed: int = 0) -> NoiseStudy:
    """Measure the effect of noise (Karras 2019, arXiv:1812.04948, figures 4 and 5), with at least 2 draws.

    Sources are seeds or styles ``[L, w_dim]``.
    """
    w = space.latents(sources)
    shown = {name: space.styles.synthesis(w, noise).cpu() for name, noise in PANELS.items()}
    panels = torch.stack([to_uint8(images) for images in shown.values()], dim=1)
    powers = torch.stack([power_by_frequency(images - shown["none"]) for images in shown.values()])
    # Welford's algorithm: constant memory, numerically stable.
    mean = torch.zeros(panels[:, 0].shape, dtype=torch.float64)
    squares = torch.zeros_like(mean)
    with fork_random_state(w.device):
        for draw in range(draws):
            torch.manual_seed(noise_seed + draw)
            images = space.styles.synthesis(w, "random").cpu().double()
            step = images - mean
            mean += step / (draw + 1)
            squares += step * (images - mean)
    return NoiseStudy(panels, powers, (squares / max(draws - 1, 1)).sqrt().mean(1))


def power_by_frequency(images: Tensor) -> Tensor:
    """Return the radial power spectrum of images ``[N, C, H, W]``.

    Returns:
        Mean power per pixel, float64 ``[B]``: of the mean, then of 1 to 2 cycles per image, 2 to 4, 4 to 8 and so on.
        Their sum is the mean square (Parseval).
    """
    height, width = images.shape[-2:]
    power = torch.fft.fft2(images.double(), norm="forward").abs().square().mean((0, 1))
    cycles = torch.hypot(torch.fft.fftfreq(height, 1 / height)[:, None], torch.fft.fftfreq(width, 1 / width)[None])
    # The offset keeps powers of two in their band despite rounding.
    bands = torch.where(cycles == 0, 0, 1 + torch.log2(cycles.clamp_min(1) + 1e-4).floor()).long()
    return torch.zeros(int(bands.max()) + 1, dtype=torch.float64).index_add_(0, bands.flatten(), power.flatten())
