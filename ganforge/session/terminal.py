"""Terminal output of a run: a live display, or plain lines without a terminal; both also go to the log."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from ganforge.core.atomic_files import append_line
from ganforge.core.cache import open_cache
from ganforge.core.console import console, heartbeat, progress_bar, say
from ganforge.core.text import escape_controls
from ganforge.session.keywords import naming_arguments
from ganforge.session.notebook import describe_run
from ganforge.session.preview import serve
from ganforge.training.recording.verdict import describe_memorization, describe_samples, find_stage

if TYPE_CHECKING:
    from ganforge.config.schema import TrainingConfig
    from ganforge.training.recording.recorder import Score

MARK_SECONDS = 0.5
"""Interval of the measurements of speed."""

FIRST = "first step ..."
"""Text before the end of the first step."""

RECENT_SECONDS = 2.5
"""Time after a line in which no other is due."""

MEANINGS = {"D(x)": "real images, judged: 1 real, 0 generated", "D(G(z))": "generated images, judged likewise"}
"""Explanations of rows of the display."""


class Terminal:
    """Console of a terminal; see `ganforge.session.trainer.Console`.

    Args:
        preview: Whether to serve a page of each run to browsers on this machine.
    """

    def __init__(self, preview: bool = False) -> None:
        self._preview = preview

    say = staticmethod(say)
    progress = staticmethod(progress_bar)
    cache = staticmethod(open_cache)

    def watch(self, log: Path | None, training: TrainingConfig) -> Display:
        return Display(log, training.images, training.minutes, self._preview)


@contextmanager
def open_terminal(quiet: bool, arguments: Mapping[str, inspect.Parameter]) -> Iterator[Terminal]:
    """Yield the console of a Python call, whose messages name `arguments` instead of flags."""
    before, console.quiet = console.quiet, quiet or console.quiet
    try:
        with naming_arguments(arguments):
            yield Terminal()
    finally:
        console.quiet = before


class Display:
    """Observer that shows a run and writes its log; budgets in images and minutes may be None."""

    def __init__(self, log: Path | None, images: int | None, minutes: float | None, preview: bool = False) -> None:
        self._log = log
        self._preview = preview
        self._images = images
        self._minutes = minutes
        self._row: dict[str, Any] = {}
        self._scores: dict[str, float] = {}
        self._best = ""
        self._marks: list[tuple[float, int, float]] = []  # clock, images, seconds
        self._said = time.monotonic()
        self._live: Live | None = None
        self._shown = ExitStack()

    def __enter__(self) -> Display:
        if self._log and self._preview:
            say(f"preview: {self._shown.enter_context(serve(self._describe))}")
        if self._log and console.is_terminal:
            live = Live(console=console, get_renderable=self._table, refresh_per_second=2)
            self._live = self._shown.enter_context(live)
        elif self._log:
            self._shown.enter_context(heartbeat(self._beat))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.close()

    def step(self, images: int, seconds: float) -> None:
        if not self._marks or time.monotonic() - self._marks[-1][0] > MARK_SECONDS:
            self._mark(images, seconds)

    def _mark(self, images: int, seconds: float) -> None:
        self._marks = [*self._marks[-20:], (time.monotonic(), images, seconds)]

    def tick(self, row: dict[str, Any]) -> None:
        self._row = row
        self._mark(row["images"], row["seconds"])
        self._show(self.line(row))
        for warning in row.get("warnings", []):
            self.note(f"warning: {warning}")

    def note(self, text: str) -> None:
        self._write(text)
        say(text)
        self._said = time.monotonic()

    def score(self, row: dict[str, Any], best: Score) -> None:
        self._scores = {name: value for name, value in row.items() if name not in ("images", "seconds")}
        self._best = describe_best(best)
        values = " ".join(f"{name} {value:.4g}" for name, value in self._scores.items())
        self._show(f"{row['images']} images {values} ({self._best})")

    def _show(self, line: str) -> None:
        self._write(line)
        if not self._live:
            say(line)
            self._said = time.monotonic()

    def _write(self, line: str) -> None:
        if self._log:
            append_line(self._log, line)

    def line(self, row: dict[str, Any]) -> str:
        """Format a tick as one line."""
        if not self._log:
            return ""
        share = self._share(row["images"], row["seconds"])
        values = " ".join(f"{name} {value:.3f}" for name, value in _metrics(row).items())
        copied = f"memorization {row['memorization']:.2f}" if "memorization" in row else ""
        words = " ".join(filter(None, (values, find_stage(row), copied, row["picture"])))
        return (
            f"{row['images']} images {share:4.0%} {row['images_per_second']:.0f} images/s "
            f"eta {_clock(_left(share, row['seconds']))} {words}"
        )

    def _share(self, images: int, seconds: float) -> float:
        """Share of the budget spent, in [0, 1]; 0 without a budget."""
        spent = [images / self._images] if self._images else []
        spent += [seconds / 60 / self._minutes] if self._minutes else []
        return min(max(spent, default=0.0), 1.0)

    def _progress(self) -> tuple[int, float, float, float]:
        """Return images, seconds, share of the budget, and images per second, all as of now."""
        if not self._marks:
            return 0, 0.0, 0.0, 0.0
        (_, before, then), (clock, images, seconds) = self._marks[0], self._marks[-1]
        rate = (images - before) / (seconds - then) if seconds > then else 0.0
        seconds += time.monotonic() - clock
        return images, seconds, self._share(images, seconds), rate

    def _describe(self) -> str:
        """Describe the run as HTML, with its newest sample grid."""
        assert self._log is not None
        row = self._row
        picture = Path(row["picture"]) if row else None
        return describe_run(self._log.parent, row, picture if picture and picture.is_file() else None)

    def _beat(self) -> str:
        """Describe the progress in one line, unless a line was printed a moment ago."""
        if time.monotonic() - self._said < RECENT_SECONDS:
            return ""
        images, seconds, share, rate = self._progress()
        if share == 1.0:
            return f"{images} images, writing files"
        left = _clock(_left(share, seconds))
        return f"{images} images {share:4.0%} {rate:.0f} images/s eta {left}" if images else FIRST

    def _table(self) -> Table:
        images, seconds, share, rate = self._progress()
        filled = round(30 * share)
        table = Table.grid(padding=(0, 2))
        table.add_row("images", f"{images:,}  [green]{'━' * filled}[/][dim]{'━' * (30 - filled)}[/] {share:.0%}")
        speed = f"{rate:,.0f} images/s, {_clock(seconds)} elapsed, {_clock(_left(share, seconds))} left"
        table.add_row("speed", speed if images else FIRST)
        for name, value in _metrics(self._row).items():
            table.add_row(name, f"{value:.3f}", MEANINGS.get(name, ""))
        if seen := describe_samples(self._row):
            table.add_row("samples", seen, "patch distance {patch_distance:.2f}".format_map(self._row))
        if copied := describe_memorization(self._row):
            table.add_row("copying", copied)
        for index, (name, value) in enumerate(self._scores.items()):
            table.add_row(name, f"{value:.4g}" + f"  ({self._best})" * (index == 0))
        if self._row:
            table.add_row("picture", Text(escape_controls(self._row["picture"])))
        return table


def describe_best(best: Score) -> str:
    """Format the best score."""
    return f"best {best.value:.4g} after {best.images:,} images"


def describe_scores(best: Score, last: Score, file: str) -> str:
    """Format the best and the newest score of a run in one line; `file` holds the best generator."""
    line = f"{best.metric}: {describe_best(best)} ({file})"
    if last == best:
        return f"{line}, the last"
    above = f", {last.value / best.value - 1:.1%} above the best" if best.value > 0 else ""
    return f"{line}, last {last.value:.4g} after {last.images:,}{above}"


def _metrics(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name.startswith(("discriminator/", "generator/", "D("))}


def _left(share: float, seconds: float) -> float:
    return seconds * (1 - share) / share if share > 0 else 0.0


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
