"""Built-in callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganforge import Callback, OptionError, hookimpl, open_run


class EarlyStop(Callback):
    """Stops a run whose score stops improving; it needs ``--eval-every`` and ``--metrics``.

    Args:
        patience: Images without a better score.
        metric: Name of the score, such as fid; none: the first, which selects the best generator.
        least: Smallest relative improvement that counts.
    """

    def __init__(self, *, patience: int = 100_000, metric: str | None = None, least: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"patience={patience} must be at least 1")
        if not 0 <= least < 1:
            raise ValueError(f"least={least:g} must be at least 0 and below 1")
        self.patience, self.metric, self.least = patience, metric, least
        self._best: tuple[float, int] | None = None

    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:
        if not config["training"]["eval_every"]:
            raise OptionError("callback 'early-stop' needs scores", "add --eval-every 50k --metrics fd")
        self._best = None
        for row in open_run(run).rows if images else []:
            if "images_per_second" not in row:  # scores, not a tick
                self.score(row["images"], {key: row[key] for key in row if key not in ("images", "seconds")})

    def score(self, images: int, values: Mapping[str, float]) -> str | None:
        name = self.metric or next(iter(values))
        if name not in values:
            raise OptionError(f"callbacks.early-stop.metric: '{name}' is no score", f"choose from {', '.join(values)}")
        value = values[name]
        if self._best is None or value < self._best[0] - self.least * abs(self._best[0]):
            self._best = value, images
        best, since = self._best
        if images - since < self.patience:
            return None
        return f"{name} did not improve on {best:.4g}, at {since:,} images, in {images - since:,} images"


@hookimpl
def ganforge_callbacks() -> dict[str, type[Callback]]:
    return {"early-stop": EarlyStop}
