"""One HTML file that tells of one run or of several: all of it within, nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

import ganforge.report.evaluations as evaluations
import ganforge.report.markup as markup
import ganforge.report.numbers as numbers
import ganforge.report.sections as sections
from ganforge.core.atomic_files import write_bytes
from ganforge.core.text import escape_html
from ganforge.evaluation.results.result import now
from ganforge.plugins.registry import Registry
from ganforge.report.drawing import draw_samples
from ganforge.report.pictures import load_frames
from ganforge.report.reading import read_story
from ganforge.runs.folder import RunFolder
from ganforge.version import __version__

FILE = "report.html"
"""The report of a run, in its folder."""

_PAGE = Path(__file__).parent / "page"


def write_report(folders: Sequence[RunFolder], path: Path, registry: Registry) -> None:
    """Write a report.

    Args:
        folders: Runs; what they have in common is laid over one another.
        path: Where to.
        registry: Where generators are looked up, which are drawn from.

    Raises:
        CheckpointError: A run has no configuration that can be read.
        GanforgeError: The file cannot be written.
    """
    stories = [read_story(folder) for folder in folders]
    frames = []
    for story, (own, problems) in zip(stories, load_frames([each.grids for each in stories]), strict=True):
        frames.append(own)
        story.problems.extend(problems)
    samples = [sections.show_samples(story, draw_samples(story, registry), len(stories) > 1) for story in stories]
    body = [
        sections.tell_facts(stories),
        sections.tell_warnings(stories),
        sections.show_training(stories, frames),
        markup.section("Samples", "".join(samples)),
        numbers.show_scores(stories),
        numbers.show_curves(stories),
        evaluations.show_evaluations(stories),
        sections.show_nearest(stories),
        sections.show_settings(stories),
        sections.show_origin(stories),
        sections.show_commands(stories),
    ]
    headings = re.findall(r'<section id="([\w-]+)"[^>]*><h2[^>]*>([^<]*)</h2>', "".join(body))
    names = ", ".join(story.name for story in stories)
    page = Template((_PAGE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape_html(names),
        subtitle="The report of a run." if len(stories) == 1 else f"{len(stories)} runs beside one another.",
        contents="".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in headings),
        body="\n".join(filter(None, body)),
        style=(_PAGE / "page.css").read_text(encoding="utf-8"),
        script=(_PAGE / "page.js").read_text(encoding="utf-8"),
        version=__version__,
        date=markup.moment(now()),
    )
    write_bytes(path, page.encode())
