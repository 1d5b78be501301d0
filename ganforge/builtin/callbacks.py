"""Built-in callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganforge import Callback, OptionError, hookimpl, open_run


class EarlyStop(Callback):
    """Stops a run whose score stops improving, or without scores its patch distance.

    Args:
        patience: Images without a better value.
        metric: Name of the score, such as fid; none: the first, which selects the best generator.
        least: Smallest relative improvement that counts.
        memorization: Share of samples that copy training images, above which the run stops, at two measurements in a
            row; none: never.
    """

    def __init__(
        self,
        *,
        patience: int = 100_000,
        metric: str | None = None,
        least: float = 0.0,
        memorization: float | None = None,
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience={patience} must be at least 1")
        if not 0 <= least < 1:
            raise ValueError(f"least={least:g} must be at least 0 and below 1")
        if memorization is not None and not 0 <= memorization <= 1:
            raise ValueError(f"memorization={memorization:g} must be from 0 to 1, such as 0.2")
        self.patience, self.metric, self.least, self.memorization = patience, metric, least, memorization
        self._by_ticks = False
        self._best: tuple[float, int] | None = None
        self._copied = False

    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:
        self._by_ticks = not config["training"]["eval_every"]
        if self._by_ticks and self.metric is not None:
            raise OptionError(f"metric={self.metric}: there are no scores", "add --eval-every 50k --metrics fd")
        self._best, self._copied = None, False
        for row in open_run(run).rows if images else []:
            values = {key: row[key] for key in row if key not in ("images", "seconds")}
            if "images_per_second" not in row:
                self.score(row["images"], values)
            elif "patch_distance" in values:  # runs of earlier versions have none
                self.tick(row["images"], values)

    def tick(self, images: int, values: Mapping[str, float]) -> str | None:
        if not self._by_ticks:
            return None
        if "patch_distance" not in values:
            raise OptionError("only images have a patch distance", "add --eval-every 50k --metrics fd")
        return self._follow("patch_distance", images, values)

    def score(self, images: int, values: Mapping[str, float]) -> str | None:
        name = self.metric or next(iter(values))
        if name not in values:
            raise OptionError(f"callbacks.early-stop.metric: '{name}' is no score", f"choose from {', '.join(values)}")
        return self._follow(name, images, values)

    def _follow(self, name: str, images: int, values: Mapping[str, float]) -> str | None:
        """Return the reason to stop: copies of training images, or a value that has not improved for long enough."""
        value, share = values[name], values.get("memorization", 0.0)
        before, self._copied = self._copied, self.memorization is not None and share > self.memorization
        if before and self._copied:
            return f"memorization {share:.2f}: samples copy training images"
        if self._best is None or value < self._best[0] - self.least * abs(self._best[0]):
            self._best = value, images
        best, since = self._best
        if images - since < self.patience:
            return None
        return f"{name} did not improve on {best:.4g}, at {since:,} images, in {images - since:,} images"


@hookimpl
def ganforge_callbacks() -> dict[str, type[Callback]]:
    return {"early-stop": EarlyStop}
