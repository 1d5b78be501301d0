"""ganforge: train, explore, evaluate and export generative adversarial networks.

Public names are listed in ``__init__.pyi`` and loaded on first use, so that ``import ganforge`` is fast.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from ganforge.moved import MovedModules
from ganforge.version import API_VERSION, __version__

sys.meta_path.append(MovedModules())

_MODULES = {
    name: module
    for module, name in re.findall(r"from ganforge\.(\S+) import (\w+)", Path(__file__).with_suffix(".pyi").read_text())
    if module != "version"
}
"""Module of each public name."""

__all__ = ["API_VERSION", "__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"ganforge.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'ganforge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
