"""A network compiled by TorchScript, and what to tell an author whose network cannot be."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils import parametrize

from ganforge.contract.errors import GanforgeError

# What TorchScript says, and the rule behind it; the first one found in its message counts.
_RULES = (
    ("torch/_compile.py", "leave torch.compile and activation checkpointing out of what is exported"),
    ("keyword-only arguments with defaults", "take no *args, no **kwargs and no keyword-only argument with a default"),
    ("Expected integer literal for index", "iterate over a ModuleList; only a literal number may index it"),
    ("failed to convert Python type", "forward reads numbers, strings and tensors of self only; set them in __init__"),
    ("failed to compile it to a TorchScript function", "keep no lambda on self; write a method or a module"),
    ("Unknown type name", "write annotations without quotes: Tensor | None"),
    ("Unknown type annotation", "annotate attributes where __init__ sets them, not in the body of the class"),
    ("instead found type 'Optional[Tensor]'", "test what may be None first: if labels is not None"),
    ("Can't get source", "define the class in a .py file; TorchScript compiles its source"),
    ("'SpectralNorm'", "use torch.nn.utils.parametrizations.spectral_norm"),
)


def script(network: nn.Module) -> torch.jit.ScriptModule:
    """Compile a network with TorchScript.

    Args:
        network: In evaluation mode. Its parametrizations, such as spectral norm, are replaced by the weights that they
            give, for TorchScript cannot compile them.

    Raises:
        GanforgeError: It cannot be compiled; the message names the construct and its line, the hint the rule.
    """
    try:
        settle_weights(network)
        with quiet():
            scripted: torch.jit.ScriptModule = torch.jit.script(network)
    except Exception as error:  # TorchScript raises whatever its parts raise: RuntimeError, ValueError, OSError ...
        raise explain(network, error) from error
    return scripted


def settle_weights(network: nn.Module) -> None:
    """Replace parametrizations, such as spectral norm, by the weights that they give; those of copies stay."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            kind = type(module)  # which copies of a network share, and from which the removal deletes
            module.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what torch.jit says of itself at every call: that it is deprecated."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=r".*torch\.jit", category=category)
        yield


def explain(network: nn.Module, error: Exception) -> GanforgeError:
    """Turn TorchScript's pages of text into one line and a rule."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    reason = re.split(r"\. | \(This | at$", lines[0])[0].rstrip(" .:")
    code = next((before for before, line in pairwise(lines) if line.endswith("<--- HERE")), "")
    place = re.search(r'File "(.+)", line (\d+)', text)
    if place:
        where = f"{place[1]}:{place[2]}"
    else:
        try:
            where = f"{inspect.getsourcefile(type(network))}:{inspect.getsourcelines(type(network))[1]}"
        except (OSError, TypeError):  # a class that was typed into an interpreter has no file
            where = type(network).__qualname__
    return GanforgeError(
        f"{type(network).__name__} cannot be compiled by TorchScript: {reason}, at {where}" + (code and f": {code}"),
        next((rule for sign, rule in _RULES if sign in text), "docs/guide/export.md lists what TorchScript takes"),
    )
