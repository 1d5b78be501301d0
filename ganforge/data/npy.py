"""Memory-mapped ``.npy`` files with validated headers."""

from __future__ import annotations

import math
import os
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganforge.core.atomic_files import open_regular

_HEADER_BYTES = 1 << 16  # maximum size of a header in bytes


def map_array(path: Path, mode: Literal["r", "c"]) -> np.memmap[Any, np.dtype[Any]]:
    """Map a nonempty ``.npy`` file without pickles: ``r`` for read-only, ``c`` for copy-on-write.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is invalid or truncated.
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
            raise ValueError(f"unsupported version {version}, for arrays with named fields")
    except ValueError:
        raise
    except Exception as error:  # a header is an expression, whose parser may raise any exception
        raise ValueError(f"its header cannot be read: {type(error).__name__}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are unsupported")
    if any(length < 1 for length in shape) or not dtype.itemsize:
        raise ValueError("the array is empty")
    needed = start.tell() + math.prod(shape) * dtype.itemsize
    if size < needed:
        raise ValueError(f"it has {size} of the {needed} bytes that its header declares")
    order: Literal["C", "F"] = "F" if by_columns else "C"
    return np.memmap(path, dtype=dtype, mode=mode, offset=start.tell(), shape=shape, order=order)
