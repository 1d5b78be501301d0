"""Tracing by torch.export, with short error messages for authors of networks."""

from __future__ import annotations

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
from ganforge.export.scripting import locate

# Parts of torch.export's messages with the rule to follow; the first match counts.
_RULES = (
    ("specialized it to be a constant", "keep the batch size dynamic: write x.shape[0], not len(x)"),
    ("No ONNX function", "replace it in forward, or export by --torchscript"),
    ("data-dependent", "forward may not branch on values of tensors or on truncation"),
)


def trace(portable: Portable, inputs: Sequence[Tensor]) -> ExportedProgram:
    """Trace a generator with a dynamic batch size.

    Args:
        portable: The generator, on the device of the inputs.
        inputs: Inputs with batch size 2 or more.

    Raises:
        GanforgeError: It draws random numbers, or cannot be traced.
    """
    portable.check_deterministic(inputs)
    batch = Dim("N", min=1)
    sizes = [{0: batch} if name in BATCHED else {} for name in portable.names]
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(portable, tuple(inputs), dynamic_shapes=(tuple(sizes),), strict=False)
    except Exception as error:  # torch.export raises many types
        raise explain(portable, error) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings of torch's exporters about deprecations and missing GPUs."""
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
    """Return a torch.export error as one line and a rule."""
    text, kind = str(error), type(portable.network)
    lines = [line.strip(" -") for line in text.splitlines() if line.strip()] or [type(error).__name__]
    reason = next((line for line in lines if "specialized" in line or "data-dependent" in line), lines[0])
    reason = re.split(r"\. | \(unhinted|; ", reason)[0].rstrip(" .:")
    if missing := re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", text):
        reason = f"ONNX has no operation {missing[1]}"
    place = re.findall(r'File "([^"]+)", line (\d+)', text.partition("The following call raised this error")[2])
    where = ":".join(place[-1]) if place else locate(kind)
    return GanforgeError(
        f"{kind.__name__} cannot be exported: {reason}, at {where}",
        next((rule for sign, rule in _RULES if sign in text), "docs/guide/export.md lists what torch.export supports"),
    )
