"""Discretized mixture of logistic distributions (section 2.1 and 2.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid, softplus

LEVELS = 256
"""Levels of a pixel in [-1, 1]."""


class LogisticMixture(nn.Module):
    """Distribution of a pixel of 1 or 3 channels, by `num_parameters` numbers. Scriptable.

    They are K logits of the mixture, then K means and K log scales for each channel; of three channels also K
    coefficients each for red to green, red to blue, and green to blue. Means of green and blue depend linearly on the
    channels before.
    """

    def __init__(self, channels: int, mixtures: int) -> None:
        super().__init__()
        self.channels = channels
        self.mixtures = mixtures
        self.levels = (LEVELS - 1) / 2  # steps between -1 and 0
        self.num_pairs = channels * (channels - 1) // 2
        self.num_parameters = mixtures * (1 + 2 * channels + self.num_pairs)

    def split(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Split ``[N, num_parameters, H, W]`` into logits ``[N, K, H, W]``, means and log scales ``[N, C, K, H, W]``,
        and coefficients ``[N, C (C - 1) / 2, K, H, W]`` in (-1, 1).
        """
        count, channels = self.mixtures, self.channels
        parts = maps.view(maps.shape[0], -1, count, maps.shape[2], maps.shape[3])
        logits, means = parts[:, 0], parts[:, 1 : 1 + channels]
        log_scales = parts[:, 1 + channels : 1 + 2 * channels].clamp(-7.0, 7.0)
        return logits, means, log_scales, parts[:, 1 + 2 * channels :].tanh()

    def bits(self, maps: Tensor, images: Tensor) -> Tensor:
        """Return the negative log-likelihood of images ``[N, C, H, W]`` in [-1, 1], in bits per dimension, ``[N]``."""
        logits, means, log_scales, coefficients = self.split(maps)
        x = images[:, :, None]
        if self.channels == 3:
            green = means[:, 1] + coefficients[:, 0] * x[:, 0]
            blue = means[:, 2] + coefficients[:, 1] * x[:, 0] + coefficients[:, 2] * x[:, 1]
            means = torch.stack([means[:, 0], green, blue], dim=1)
        half = 1 / (LEVELS - 1)
        inverse = torch.exp(-log_scales)
        upper, lower = inverse * (x - means + half), inverse * (x - means - half)
        # log(sigmoid(u) - sigmoid(l)), with u - l = d: log sigmoid(u) + log sigmoid(-l) + log(1 - exp(-d)).
        inside = logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * inverse))
        chance = torch.where(x < -0.999, logsigmoid(upper), torch.where(x > 0.999, -softplus(lower), inside))
        total = torch.logsumexp(chance.sum(1) + log_softmax(logits, 1), dim=1)
        return -total.flatten(1).sum(1) / (math.log(2) * images[0].numel())

    def draw(self, maps: Tensor, uniform: Tensor) -> Tensor:
        """Draw pixels ``[N, C]`` of 256 levels in [-1, 1].

        Args:
            maps: Parameters ``[N, num_parameters]``.
            uniform: Numbers ``[N, 1 + C]`` in (0, 1): which mixture, and the quantile of each channel.
        """
        logits, means, log_scales, coefficients = self.split(maps[:, :, None, None])
        shares = logits[:, :, 0, 0].softmax(1).cumsum(1)
        chosen = (shares < uniform[:, :1]).sum(1).clamp(max=self.mixtures - 1)
        index = chosen[:, None, None]
        mean = means[:, :, :, 0, 0].gather(2, index.expand(-1, self.channels, -1))[:, :, 0]
        scale = log_scales[:, :, :, 0, 0].gather(2, index.expand(-1, self.channels, -1))[:, :, 0].exp()
        noise = scale * (torch.log(uniform[:, 1:]) - torch.log1p(-uniform[:, 1:]))
        first = _round(mean[:, 0] + noise[:, 0], self.levels)
        if self.channels == 1:
            return first[:, None]
        link = coefficients[:, :, :, 0, 0].gather(2, index.expand(-1, self.num_pairs, -1))[:, :, 0]
        second = _round(mean[:, 1] + link[:, 0] * first + noise[:, 1], self.levels)
        third = _round(mean[:, 2] + link[:, 1] * first + link[:, 2] * second + noise[:, 2], self.levels)
        return torch.stack([first, second, third], dim=1)


def _round(x: Tensor, levels: float) -> Tensor:
    return torch.round((x.clamp(-1.0, 1.0) + 1.0) * levels) / levels - 1.0
