"""A portable generator as a graph of torch.export, and what to tell an author whose network cannot be one."""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ganforge.contract.errors import GanforgeError
from ganforge.export.portable import BATCHED, Portable

# What torch.export says, and the rule behind it; the first one found in its message counts.
_RULES = (
    ("specialized it to be a constant", "the size of the batch must stay open: write x.shape[0], not len(x)"),
    ("data-dependent", "forward may not branch on what tensors hold, nor on truncation: compute with it instead"),
)


def trace(portable: Portable, inputs: Sequence[Tensor]) -> ExportedProgram:
    """Write down what a generator computes, for any size of batch.

    Args:
        portable: The generator, on the device of the inputs.
        inputs: Of a batch of at least 2.

    Raises:
        GanforgeError: It draws random numbers, or cannot be written down; the message names the place if torch tells
            it, the hint the rule.
    """
    portable.refuse_chance(inputs)
    batch = Dim("N", min=1)
    sizes = [{0: batch} if name in BATCHED else {} for name in portable.names]
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(portable, tuple(inputs), dynamic_shapes=(tuple(sizes),), strict=False)
    except Exception as error:  # torch.export raises whatever its parts and the network raise
        raise explain(portable, error) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what torch's exporters say of themselves: deprecations, and a GPU that is not there."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def explain(portable: Portable, error: Exception) -> GanforgeError:
    """Turn the pages of torch.export into one line and a rule."""
    text, kind = str(error), type(portable.network)
    lines = [line.strip(" -") for line in text.splitlines() if line.strip()] or [type(error).__name__]
    reason = next((line for line in lines if "specialized" in line or "data-dependent" in line), lines[0])
    reason = re.split(r"\. | \(unhinted|; ", reason)[0].rstrip(" .:")
    place = re.findall(r'File "([^"]+)", line (\d+)', text.partition("The following call raised this error")[2])
    if place:
        where = ":".join(place[-1])
    else:
        try:
            where = f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}"
        except (OSError, TypeError):  # a class that was typed into an interpreter has no file
            where = kind.__qualname__
    return GanforgeError(
        f"{kind.__name__} cannot be exported: {reason}, at {where}",
        next((rule for sign, rule in _RULES if sign in text), "docs/guide/export.md lists what torch.export takes"),
    )
