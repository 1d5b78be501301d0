"""Report of one or several runs as a self-contained HTML file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

import ganforge.report.evaluations as evaluations
import ganforge.report.markup as markup
import ganforge.report.numbers as numbers
import ganforge.report.sections as sections
import ganforge.report.summary as summary
from ganforge.core.atomic_files import write_bytes
from ganforge.core.text import escape_html
from ganforge.evaluation.results.result import now
from ganforge.plugins.registry import Registry
from ganforge.report.drawing import draw_samples
from ganforge.report.pictures import draw_reals, load_frames
from ganforge.report.reading import read_runs
from ganforge.runs.folder import RunFolder
from ganforge.version import __version__

FILE = "report.html"
"""File name of the report in a run."""

_PAGE = Path(__file__).parent / "page"


def write_report(folders: Sequence[RunFolder], path: Path, registry: Registry, out: Path) -> None:
    """Write a report.

    Args:
        folders: Runs, shown side by side.
        path: File to write.
        registry: Where generators are looked up.
        out: Folder of all runs, where evaluations of shipped generators are.

    Raises:
        CheckpointError: The configuration of a run cannot be read.
        GanforgeError: The file cannot be written.
    """
    runs = read_runs(folders, out)
    frames = []
    for run, (own, problems) in zip(runs, load_frames([each.grids for each in runs]), strict=True):
        frames.append(own)
        run.problems.extend(problems)
    reals = draw_reals(runs)
    samples = [sections.samples_section(run, draw_samples(run, registry), len(runs) > 1) for run in runs]
    body = [
        summary.summary_section(runs),
        sections.warnings_section(runs),
        sections.training_section(runs, frames, reals),
        markup.section("Samples", "".join(samples)),
        numbers.scores_section(runs),
        numbers.curves_section(runs),
        evaluations.evaluations_section(runs),
        sections.nearest_section(runs),
        sections.settings_section(runs),
        sections.provenance_section(runs),
        sections.commands_section(runs),
    ]
    headings = re.findall(r'<section id="([\w-]+)"[^>]*><h2[^>]*>([^<]*)</h2>', "".join(body))
    names = ", ".join(run.name for run in runs)
    page = Template((_PAGE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape_html(names),
        subtitle="Report of one run." if len(runs) == 1 else f"{len(runs)} runs side by side.",
        contents="".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in headings),
        body="\n".join(filter(None, body)),
        style=(_PAGE / "page.css").read_text(encoding="utf-8"),
        script=(_PAGE / "page.js").read_text(encoding="utf-8"),
        version=__version__,
        date=markup.moment(now()),
    )
    write_bytes(path, page.encode())
