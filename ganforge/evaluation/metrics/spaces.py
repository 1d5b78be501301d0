"""The latent spaces of a generator that metrics of latents are measured in."""

from __future__ import annotations

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.sampling import refuse_sources


def chosen_spaces(generator: Generator, data: DataSpec, name: str | None) -> tuple[str, ...]:
    """The spaces to measure in.

    Args:
        generator: Any.
        data: What it makes, and of what.
        name: ``z`` or ``w``; None for z, and w too where the generator has it.

    Raises:
        OptionError: There is no such space, or w of a generator without styles; or images are made of images.
    """
    refuse_sources(data, "a metric of latents")
    has_w = isinstance(generator, StyleGenerator)
    if name is None:
        return ("z", "w") if has_w else ("z",)
    if name not in ("z", "w"):
        raise OptionError(f"--space {name}: there is no such latent space", "choose z or w")
    if name == "w" and not has_w:
        raise OptionError(
            f"--space w: {type(generator).__name__} has no styles, so there is no w", "leave it out, or say --space z"
        )
    return (name,)
