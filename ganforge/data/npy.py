"""Array files, mapped into memory; a header is believed only as far as its file bears it out."""

from __future__ import annotations

import math
import os
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganforge.core.atomic_files import open_regular

_HEADER_BYTES = 1 << 16
"""Headers are far shorter; one that claims to be of gigabytes is not waited for."""


def map_array(path: Path, mode: Literal["r", "c"]) -> np.memmap[Any, np.dtype[Any]]:
    """Map an ``.npy`` file; it is never a pickle, and its array is never empty.

    Args:
        path: The file.
        mode: ``r`` to read only, ``c`` to write to this process's copy of the pages.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is no such file, or shorter than its header says.
    """
    with open_regular(path) as file:
        start = BytesIO(file.read(_HEADER_BYTES))
        size = os.fstat(file.fileno()).st_size
    try:
        version = np.lib.format.read_magic(start)
        if version == (1, 0):
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(start)
        elif version == (2, 0):
            shape, by_columns, dtype = np.lib.format.read_array_header_2_0(start)
        else:
            raise ValueError(f"version {version} is for arrays with named fields")
    except ValueError:
        raise
    except Exception as error:  # a header is an expression, which may break its parser in any way
        raise ValueError(f"its header cannot be read: {type(error).__name__}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded")
    if any(length < 1 for length in shape) or not dtype.itemsize:
        raise ValueError("the array is empty")
    needed = start.tell() + math.prod(shape) * dtype.itemsize
    if size < needed:
        raise ValueError(f"it has {size} of the {needed} bytes that its header tells of")
    order: Literal["C", "F"] = "F" if by_columns else "C"
    return np.memmap(path, dtype=dtype, mode=mode, offset=start.tell(), shape=shape, order=order)
