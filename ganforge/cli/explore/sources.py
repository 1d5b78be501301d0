"""Images that an exploration begins with: seeds, and codes of projected images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ganforge.cli.options import option, read_number

if TYPE_CHECKING:
    from torch import Tensor

    from ganforge.cli.explore.exploration import Exploration
    from ganforge.explore import LatentSpace, Source

Given = int | Path
"""A seed, or the file of a code."""

Code = Annotated[Path | None, option("--code", "Code of explore project or drag, instead of the seed.", "FILE")]
Codes = Annotated[
    list[Path] | None, option("--code", "Code of explore project or drag, instead of seeds. Repeatable.", "FILE")
]


def sources_option(flag: str, text: str) -> Any:
    """Declare an option that takes seeds and codes."""
    return option(flag, text, "N|CODE,...")


def read_sources(text: str | None, flag: str, first: int, count: int) -> list[Given]:
    """Read comma-separated seeds and ``.safetensors`` files; None gives `count` seeds from `first`."""
    if text is None:
        return list(range(first, first + count))
    return [
        Path(each) if each.endswith(".safetensors") else read_number(each, int, flag, least=0)
        for each in text.split(",")
    ]


def seeds_unless(codes: Sequence[Path] | None, first: int, count: int) -> list[Given]:
    """Return the given codes; without any `count` seeds from `first`."""
    return list(codes or range(first, first + count))


def open_sources(here: Exploration, space: LatentSpace, given: Sequence[Given]) -> list[Source]:
    """Return seeds, and the latents of codes; the generator gets the noise maps of the first code that has some."""
    from ganforge.explore import read_code
    from ganforge.explore.noise_maps import use_noise

    found: list[Source] = []
    maps: list[Tensor] = []
    for each in given:
        if isinstance(each, int):
            found.append(each)
            continue
        latent, noise = read_code(each, space, here.card["digest"])
        found.append(latent)
        if noise and not maps:
            maps = noise
            use_noise(space.generator, maps, str(each))
    return found


def name_source(source: Given) -> str:
    """Return a heading: a seed, or the name of a code's file."""
    from ganforge.data.text import printable, short

    return str(source) if isinstance(source, int) else short(printable(source.stem), 20)


def describe_sources(given: Sequence[Given]) -> list[int | str]:
    """Return seeds and paths for the JSON file."""
    return [each if isinstance(each, int) else str(each) for each in given]
