"""Errors of plugins during a run, as one line with the part and its plugin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ganforge.contract.errors import GanforgeError, PluginError, explain
from ganforge.core.out_of_memory import is_out_of_memory

PLUGIN_NAMES: dict[tuple[str, str], str] = {}
"""Plugin of each part that this process created, by kind and name."""


@contextmanager
def part_errors(kind: str, name: str) -> Iterator[None]:
    """Convert exceptions of a part, such as ``loss`` ``nonsat``, to `PluginError`.

    Errors of ganforge, keyboard interrupts and out-of-memory errors pass unchanged.
    """
    try:
        yield
    except (GanforgeError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise
        plugin = f" of plugin '{PLUGIN_NAMES[kind, name]}'" if (kind, name) in PLUGIN_NAMES else ""
        raise PluginError(
            f"{kind} '{name}'{plugin} failed: {explain(error)}", "correct the plugin; --debug shows the traceback"
        ) from error
