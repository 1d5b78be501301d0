"""Tensors of a PyTorch module in a pickle, under the names of its ``state_dict``."""

from __future__ import annotations

from typing import Any

from ganforge.contract.errors import CheckpointError
from ganforge.core.pickle_data import Record
from ganforge.core.torch_files import StoredTensor

_DEEPEST, _LONGEST = 32, 200
"""Maximum depth of modules in modules, and length of a name."""


def module_tensors(value: Any) -> dict[str, StoredTensor]:
    """Return the tensors of a module in a pickle, for importers.

    Args:
        value: What `read_pickle` returns for a module, of any class; or a state dictionary.

    Returns:
        Parameters and buffers under the names of ``state_dict``; empty for any other object.

    Raises:
        CheckpointError: A module or a tensor has an invalid name, or a module occurs twice or too deep.
    """
    if isinstance(value, dict):
        return {name: each for name, each in value.items() if isinstance(each, StoredTensor) and _is_name(name)}
    found: dict[str, StoredTensor] = {}
    waiting, seen = [("", value)], set[int]()
    while waiting:
        prefix, module = waiting.pop()
        state = _find_state(module)
        if not state:
            continue
        if id(state) in seen or prefix.count(".") > _DEEPEST:
            raise CheckpointError(f"module {prefix[:-1]} occurs twice, or deeper than {_DEEPEST} modules")
        seen.add(id(state))
        for section in ("_parameters", "_buffers"):
            tensors = module_tensors(_section(state, section))
            found |= {f"{prefix}{name}": each for name, each in tensors.items()}
        for name, each in _section(state, "_modules").items():
            if not _is_name(name):
                raise CheckpointError(f"a module in {prefix[:-1] or 'the file'} has an invalid name")
            waiting += [(f"{prefix}{name}.", each)] * (each is not None)
    return found


def _find_state(module: Any) -> dict[Any, Any]:
    """Return the attributes of a module; of one that stores its source code, those in the argument of its call."""
    state = module.state if isinstance(module, Record) else None
    if isinstance(module, Record) and module.args and isinstance(module.args[0], dict):
        state = module.args[0].get("state")
    return state if isinstance(state, dict) else {}


def _section(state: dict[Any, Any], name: str) -> dict[Any, Any]:
    found = state.get(name)
    return found if isinstance(found, dict) else {}


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= _LONGEST
