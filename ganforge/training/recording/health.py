"""Health warnings: mode collapse, a discriminator that wins, skipped steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ganforge.training.steps import PLAYERS, SKIPPED

TICKS = 5  # number of consecutive ticks with a symptom before a warning
ALIKE = 0.1  # diversity relative to real examples below which samples count as collapsed
WON = 0.05  # absolute discriminator loss below which it may have won
GAP = 0.9  # ... if the gap between its mean logits of real and generated examples exceeds this value

COLLAPSE = (
    "mode collapse: samples vary {diversity:.0%} as much as real examples; try --reg r1, "
    "--set discriminator.minibatch=deviation, or an earlier checkpoint"
)

VICTORY = (
    "the discriminator has won: its loss is {discriminator/loss:.3g}, so the generator learns almost nothing; try "
    "--reg r1, --augment ada, or a lower optimizer.discriminator_lr"
)


def measure_diversity(examples: Tensor, reals: Tensor) -> float:
    """Return the ratio of mean standard deviations of generated to real examples, ``[N, ...]`` with N >= 2."""
    ours, theirs = (each.flatten(1).double().std(0).mean() for each in (examples, reals))
    return float(ours / theirs.clamp(min=1e-12))


class HealthMonitor:
    """Checks rows of metrics for symptoms."""

    def __init__(self) -> None:
        self._ticks: dict[str, int] = defaultdict(int)

    def check(self, row: Mapping[str, Any]) -> list[str]:
        """Return warnings after a row from `Recorder.tick`: symptoms for `TICKS` ticks, and skipped steps."""
        loss, gap = row.get("discriminator/loss"), row.get("logit_gap")
        signs = {
            COLLAPSE: row.get("diversity", 1.0) < ALIKE,
            VICTORY: loss is not None and gap is not None and abs(loss) < WON and gap > GAP,
        }
        found = []
        for text, seen in signs.items():
            self._ticks[text] = self._ticks[text] + 1 if seen else 0
            if self._ticks[text] >= TICKS:
                found.append(text.format_map(row))
        for player in PLAYERS:
            if row.get(SKIPPED + player, 0) > 0:
                found.append(f"{row[SKIPPED + player]:.1%} of the {player}'s steps were skipped: non-finite gradients")
        return found
