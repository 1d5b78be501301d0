"""HTML of runs and generators for notebooks."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganforge.contract.networks import Generator
from ganforge.core.atomic_files import read_bytes
from ganforge.core.images import grid, png_bytes, to_uint8
from ganforge.core.text import escape_html
from ganforge.runs.checkpoint import read_spec
from ganforge.runs.marking import name_seeds, xmp_packet
from ganforge.sampling import default_labels, generate

SHOWN = 16
"""Number of samples of a generator."""


def describe_generator(generator: Generator, card: Mapping[str, Any]) -> str:
    """Return name, size and samples of a generator as HTML; `card` is that of its file."""
    data = read_spec(card)
    parameters = sum(each.numel() for each in generator.parameters())
    shape = " x ".join(map(str, data.shape))
    given = " x ".join(map(str, data.source_shape)) or f"{generator.z_dim} numbers"
    title = f"{type(generator).__name__}: {given} to {shape}, {parameters:,} parameters"
    if not data.is_image or data.source_shape:
        return _page(title, {})
    labels = default_labels(SHOWN, data)
    picture = grid(to_uint8(generate(generator, SHOWN, labels=labels)), columns=8)
    return _page(title, {}, png_bytes(picture, xmp_packet(card, name_seeds(range(SHOWN)))))


def describe_run(path: Path, row: Mapping[str, Any], picture: Path | None) -> str:
    """Return path, newest metrics and newest sample grid of a run as HTML."""
    numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
    return _page(str(path), numbers, read_bytes(picture, follow=False) if picture else None)


def _page(title: str, numbers: Mapping[str, float], picture: bytes | None = None) -> str:
    rows = "".join(f"<tr><th>{escape_html(name)}</th><td>{value:,.4g}</td></tr>" for name, value in numbers.items())
    table = f"<table>{rows}</table>" if rows else ""
    image = ""
    if picture:
        content = base64.b64encode(picture).decode()
        image = f'<img alt="samples" style="max-width: 100%" src="data:image/png;base64,{content}">'
    return f"<div><p>{escape_html(title)}</p>{image}{table}</div>"
