"""Figures drawn from a run's generators: best and last samples, truncation, style mixing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import GanforgeError
from ganforge.contract.networks import Generator
from ganforge.core.images import to_uint8
from ganforge.explore.mixing import mix, read_layers
from ganforge.explore.spaces import ZSpace, open_space
from ganforge.explore.truncation import truncation_sweep
from ganforge.plugins.registry import Registry
from ganforge.report.pictures import embed_grid, figure
from ganforge.report.reading import RunData
from ganforge.runs.checkpoint import load_generator, read_card, read_spec
from ganforge.runs.marking import name_seeds, xmp_packet
from ganforge.sampling import can_truncate, default_labels, generate

SEEDS = range(8)
PSIS = (0.0, 0.25, 0.5, 0.75, 1.0)


def draw_samples(run: RunData, registry: Registry) -> list[str]:
    """Return figures of a run's generators; failures are appended to `RunData.problems`."""
    figures: list[str] = []
    try:
        for figure_of in (_draw_last_and_best, _draw_truncation, _draw_mixing):
            figures += figure_of(run, registry)
    except (GanforgeError, RuntimeError, MemoryError) as error:
        run.problems.append(f"the generator cannot be sampled: {error}")
    return figures


def _open(run: RunData, registry: Registry) -> tuple[Generator, DataSpec, dict[str, Any]] | None:
    if not run.folder.generator.exists():
        return None
    generator, card = load_generator(run.folder.generator, registry)
    data = read_spec(card)
    if data.source_shape:  # the sources are not available here
        return None
    return (generator, data, card) if data.is_image else None


def _mark(run: RunData, card: Mapping[str, Any], seeds: Sequence[int]) -> bytes:
    """Return the XMP packet of a figure; empty if the run's sample grids have none."""
    return xmp_packet(card, name_seeds(seeds)) if run.config.get("training", {}).get("marking", True) else b""


def _draw_last_and_best(run: RunData, registry: Registry) -> Iterator[str]:
    opened = _open(run, registry)
    if opened is None:
        return
    generator, data, card = opened
    labels = default_labels(16, data)
    newest = embed_grid(to_uint8(generate(generator, 16, labels=labels)), 8, _mark(run, card, range(16)))
    path, best = run.folder.best_generator, None
    if path.exists():
        generator, card = load_generator(path, registry)
        best = embed_grid(to_uint8(generate(generator, 16, labels=labels)), 8, _mark(run, card, range(16)))
    after = f"after {read_card(run.folder.generator).get('images', 0):,} images"
    also = ", also the best," if best == newest else ""
    words = f"The newest generator{also} {after}, seeds 0 to 15"
    yield figure(newest, "Sixteen samples of the newest generator", words)
    if best is not None and best != newest:
        after = f"after {read_card(path).get('images', 0):,} images"
        yield figure(best, "Sixteen samples of the best generator", f"The best generator, {after}, same seeds")


def _draw_truncation(run: RunData, registry: Registry) -> Iterator[str]:
    opened = _open(run, registry)
    if opened is None or not can_truncate(opened[0]):
        return
    space = open_space(opened[0], "z", label=_first_label(opened[1]))
    assert isinstance(space, ZSpace)
    rows = truncation_sweep(space, SEEDS[:4], PSIS)
    words = f"Truncation{_of_class(opened[1])}: each row one seed, psi from {PSIS[0]:g} to {PSIS[-1]:g}. "
    words += "Truncation trades variety for quality."
    embedded = embed_grid(rows.flatten(0, 1), len(PSIS), _mark(run, opened[2], SEEDS[:4]))
    yield figure(embedded, "Four seeds at five truncations", words)


def _draw_mixing(run: RunData, registry: Registry) -> Iterator[str]:
    opened = _open(run, registry)
    if opened is None or not isinstance(opened[0], StyleGenerator):
        return
    space = open_space(opened[0], "w", label=_first_label(opened[1]))
    layers = read_layers("coarse", opened[0].num_styles)
    a, b, mixed = mix(space, SEEDS[:4], SEEDS[4:8], layers)  # type: ignore[arg-type]
    blank = torch.zeros_like(a[:1])
    cells = [blank, *b[:, None]]
    for own, row in zip(a, mixed, strict=True):
        cells += [own[None], *row[:, None]]
    words = f"Style mixing{_of_class(opened[1])}: coarse layers from the top row, all others from the left column."
    yield figure(embed_grid(torch.cat(cells), 5, _mark(run, opened[2], SEEDS)), "A table of style mixing", words)


def _first_label(data: DataSpec) -> Tensor | None:
    labels = default_labels(1, data)
    return None if labels is None else labels[0]


def _of_class(data: DataSpec) -> str:
    if data.numbers:
        return " with one condition vector"
    return f" of class {(data.class_names or ('0',))[0]}" if data.num_classes else ""
