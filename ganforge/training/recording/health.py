"""What each tick tells of a run's health, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ganforge.training.steps import PLAYERS, SKIPPED

TICKS = 5
"""So many on end make a warning."""

ALIKE = 0.1
"""Of the diversity of real examples; less is hardly any."""

WON = 0.05
"""A discriminator's loss that is nearer to 0 than this has little left to be learnt from ..."""

GAP = 0.9
"""... if its logits of real and generated examples are this far apart, and not just both near 0."""

COLLAPSE = (
    "samples are nearly alike: they differ {diversity:.0%} as much as real examples; try --reg r1, "
    "--set discriminator.minibatch=deviation, or a generator that was kept before"
)

VICTORY = (
    "the discriminator has won: its loss is {discriminator/loss:.3g}, so the generator learns next to nothing; try "
    "--reg r1, --augment ada, or a lower optimizer.discriminator_lr"
)


def measure_diversity(examples: Tensor, reals: Tensor) -> float:
    """How much generated examples differ from one another, relative to real ones.

    Args:
        examples: ``[N, ...]``, N of at least 2, in the range of the real ones.
        reals: ``[M, ...]``, M of at least 2.

    Returns:
        The ratio of their mean standard deviations over examples: 0 if all are the same, about 1 if as diverse.
    """
    ours, theirs = (each.flatten(1).double().std(0).mean() for each in (examples, reals))
    return float(ours / theirs.clamp(min=1e-12))


class Watch:
    """Looks at one row of metrics after the other."""

    def __init__(self) -> None:
        self._ticks: dict[str, int] = defaultdict(int)

    def look(self, row: Mapping[str, Any]) -> list[str]:
        """What there is to be warned of after a row: signs that have lasted for `TICKS`, and steps that were skipped.

        Args:
            row: As `Recorder.tick` writes it.
        """
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
                found.append(
                    f"{row[SKIPPED + player]:.1%} of the {player}'s steps were skipped, since gradients were not finite"
                )
        return found
