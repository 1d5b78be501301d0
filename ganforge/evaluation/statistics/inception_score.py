"""Inception score: certain classes per image, and diverse classes over all images."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.evaluation.statistics.features import check_features, to_float64


@dataclass(frozen=True, kw_only=True)
class InceptionScore:
    """Mean over the splits, from 1 to the number of classes (higher is better), and population standard deviation."""

    mean: float
    deviation: float


def inception_score(logits: Tensor, *, splits: int = 10, seed: int = 2020) -> InceptionScore:
    """Return ``exp(H(mean p) - mean H(p))`` of class probabilities p with the entropy H in nats.

    Salimans et al. 2016, "Improved Techniques for Training GANs". Images are shuffled and split as in torch-fidelity,
    with its defaults. The score grows with the number of images per split: compare equal ones.

    Args:
        logits: ``[N, K]`` of any float type, a row per generated image.
        splits: Number of splits, 1 to N.
        seed: Seed of the shuffle.
    """
    check_features("logits", logits)
    if not 1 <= splits <= len(logits):
        raise OptionError(f"{splits} splits of {len(logits)} images", f"take 1 to {len(logits)}")
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(logits))).to(logits.device)
    ends = [part * len(logits) // splits for part in range(splits + 1)]
    scores = []
    for start, end in itertools.pairwise(ends):
        shares = to_float64(logits[order[start:end]]).softmax(dim=1)
        information = torch.special.entr(shares.mean(dim=0)).sum() - torch.special.entr(shares).sum(dim=1).mean()
        scores.append(information.exp().item())
    return InceptionScore(mean=float(np.mean(scores)), deviation=float(np.std(scores)))
