"""Latent spaces of metrics."""

from __future__ import annotations

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.sampling import refuse_sources, refuse_vectors


def chosen_spaces(generator: Generator, data: DataSpec, name: str | None) -> tuple[str, ...]:
    """Return the latent spaces to measure in: that of a name, or z and, if the generator has styles, w."""
    refuse_sources(data, "a metric of latents")
    refuse_vectors(data, "a metric of latents")
    has_w = isinstance(generator, StyleGenerator)
    if name is None:
        return ("z", "w") if has_w else ("z",)
    if name not in ("z", "w"):
        raise OptionError(f"--space {name}: latent space not found", "choose z or w")
    if name == "w" and not has_w:
        raise OptionError(f"--space w: {type(generator).__name__} has no styles", "leave it out, or use --space z")
    return (name,)
