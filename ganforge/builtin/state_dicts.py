"""State dictionaries in files of ``torch.save`` or safetensors, read as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from ganforge import CheckpointError, GanforgeError, StoredTensor, read_pickle, read_state_dict


def find_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a state dictionary; empty for any other file."""
    try:
        return {name: tuple(each.shape) for name, each in _read(path).items()}
    except CheckpointError:
        return {}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a state dictionary, without the prefix that ``DataParallel`` adds.

    Raises:
        CheckpointError: Not found, damaged, or with other content than tensors.
    """
    return {name: each.load() if isinstance(each, StoredTensor) else each for name, each in _read(path).items()}


def _read(path: Path) -> dict[str, Tensor | StoredTensor]:
    tensors: Mapping[str, Tensor | StoredTensor]
    if path.suffix == ".safetensors":
        tensors = read_state_dict(path)
    else:
        content = read_pickle(path).content
        if not isinstance(content, dict):
            raise CheckpointError(f"{path}: no state dictionary")
        tensors = {str(name): each for name, each in content.items() if isinstance(each, StoredTensor)}
        if len(tensors) < len(content):
            raise CheckpointError(f"{path}: no state dictionary: it has more than tensors")
    return {name.removeprefix("module."): each for name, each in tensors.items()}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what tensors and values of a wrong form raise in the block into a CheckpointError that names the file."""
    try:
        yield
    except GanforgeError as error:
        raise CheckpointError(f"{path}: {error.message}", error.hint) from None
    except (ValueError, RuntimeError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path}: its content does not fit together: {' '.join(str(error).split())}") from None
