"""Preparation of torch for fake CUDA tensors."""

from __future__ import annotations

import ctypes
import hashlib
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ganforge.core.atomic_files import replacing
from ganforge.core.cache import cache_folder

T = TypeVar("T")

_SOURCE = Path(__file__).with_name("hooks.cpp")


def find_obstacle() -> str:
    """Return why CUDA cannot be emulated here; empty if it can."""
    if torch.version.cuda is None:
        return "this build of torch has no CUDA"
    if torch.cuda.is_available():
        return "there is a CUDA device; run the step on it"
    return "" if shutil.which("c++") else "there is no C++ compiler"


@contextmanager
def emulated_cuda() -> Iterator[FakeTensorMode]:
    """Make every new tensor in the block a fake one, and let autograd and autocast accept fake CUDA tensors."""
    hooks = _load_hooks()
    available = patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    reduced = patch("torch.cuda.is_bf16_supported", lambda *_, **__: True)
    hooks.swap_hooks()
    try:
        with available, reduced, FakeTensorMode(allow_non_fake_inputs=True) as mode:
            yield mode
    finally:
        hooks.swap_hooks()


def run_apart(function: Callable[..., T], *arguments: Any) -> T:
    """Return ``function(*arguments)`` from a process for emulation; all must be picklable.

    torch counts devices at the first backward pass of a process, so an earlier one prevents emulation in this process.
    """
    task = pickle.dumps((function, arguments))
    result: T = _open_pool().submit(_run_task, sys.path, task).result()
    return result


def _run_task(path: list[str], task: bytes) -> Any:
    """Run a pickled function, whose module may be in a folder that was added to `path` later."""
    sys.path[:] = path
    function, arguments = pickle.loads(task)
    return function(*arguments)


@cache
def _open_pool() -> ProcessPoolExecutor:
    """Start the process, which serves until this one ends."""
    return ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,))


@cache
def _load_hooks() -> ctypes.CDLL:
    """Compile the hooks, once per version of torch, and load them."""
    name = hashlib.sha256(_SOURCE.read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    library = cache_folder() / "emulation" / f"{name}.so"
    if not library.exists():
        root = Path(torch.__file__).parent
        library.parent.mkdir(parents=True, exist_ok=True)
        with replacing(library) as temporary:
            places = [f"-I{root / 'include'}", f"-L{root / 'lib'}", f"-Wl,-rpath,{root / 'lib'}"]
            command = ["c++", "-shared", "-fPIC", "-std=c++20", str(_SOURCE), "-o", str(temporary), *places]
            subprocess.run([*command, "-lc10", "-ltorch_cpu"], capture_output=True, check=True)
    return ctypes.CDLL(str(library))
