"""Exceptions of plugins in mid-run, as one line that names the part and its plugin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ganforge.contract.errors import GanforgeError, PluginError, explain
from ganforge.core.out_of_memory import is_out_of_memory

MAKERS: dict[tuple[str, str], str] = {}
"""Name of the plugin of each part that this process built, by kind and name."""


@contextmanager
def blaming(kind: str, name: str) -> Iterator[None]:
    """Report what a part raises in the block as an error of its plugin.

    Args:
        kind: Of the part, such as ``loss``.
        name: Of the part, such as ``nonsat``.

    Raises:
        PluginError: The block raised; ``--debug`` shows the traceback. A `GanforgeError`, an interrupt by the keyboard
            and an out-of-memory error pass unchanged.
    """
    try:
        yield
    except (GanforgeError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise
        plugin = f" of plugin '{MAKERS[kind, name]}'" if (kind, name) in MAKERS else ""
        raise PluginError(
            f"{kind} '{name}'{plugin} failed: {explain(error)}", "correct the plugin; --debug shows the traceback"
        ) from error
