"""Compilation by TorchScript, with short error messages for authors of networks."""

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

# Parts of TorchScript's messages with the rule to follow; the first match counts.
_RULES = (
    ("torch/_compile.py", "do not use torch.compile or activation checkpointing in an exported network"),
    ("keyword-only arguments with defaults", "take no *args, no **kwargs and no keyword-only argument with a default"),
    ("Expected integer literal for index", "iterate over a ModuleList; only a literal number may index it"),
    (
        "failed to convert Python type",
        "forward may read only numbers, strings and tensors of self; set them in __init__",
    ),
    ("failed to compile it to a TorchScript function", "keep no lambda on self; write a method or a module"),
    ("Unknown type name", "write annotations without quotes: Tensor | None"),
    ("Unknown type annotation", "annotate attributes where __init__ sets them, not in the body of the class"),
    ("instead found type 'Optional[Tensor]'", "test for None first: if labels is not None"),
    ("Can't get source", "define the class in a .py file; TorchScript compiles its source"),
    ("'SpectralNorm'", "use torch.nn.utils.parametrizations.spectral_norm"),
)


def script(network: nn.Module) -> torch.jit.ScriptModule:
    """Compile a network with TorchScript.

    Args:
        network: In evaluation mode. Its parametrizations, such as spectral norm, are removed.

    Raises:
        GanforgeError: It cannot be compiled; the message names the construct and its line, the hint the rule.
    """
    try:
        remove_parametrizations(network)
        with quiet():
            scripted: torch.jit.ScriptModule = torch.jit.script(network)
    except Exception as error:  # TorchScript raises RuntimeError, ValueError, OSError ...
        raise explain(network, error) from error
    return scripted


def remove_parametrizations(network: nn.Module) -> None:
    """Replace parametrizations, such as spectral norm, by their weights; copies of the network keep theirs."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            kind = type(module)  # shared with copies of the network, and modified by the removal
            module.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the deprecation warnings of torch.jit."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=r".*torch\.jit", category=category)
        yield


def explain(network: nn.Module, error: Exception) -> GanforgeError:
    """Return a TorchScript error as one line and a rule."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    reason = re.split(r"\. | \(This | at$", lines[0])[0].rstrip(" .:")
    code = next((before for before, line in pairwise(lines) if line.endswith("<--- HERE")), "")
    place = re.search(r'File "(.+)", line (\d+)', text)
    where = f"{place[1]}:{place[2]}" if place else locate(type(network))
    return GanforgeError(
        f"{type(network).__name__} cannot be compiled by TorchScript: {reason}, at {where}" + (code and f": {code}"),
        next((rule for sign, rule in _RULES if sign in text), "docs/guide/export.md lists what TorchScript supports"),
    )


def locate(kind: type) -> str:
    """Return the file and line of a class, or its name if it has no source file."""
    try:
        return f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return kind.__qualname__
