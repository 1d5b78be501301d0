"""Trial import of plugins in another process, which detects crashes and timeouts."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from ganforge.contract.errors import PluginError
from ganforge.plugins.loading import load_plugins

TIMEOUT = 60.0
"""Timeout of one plugin's import, in seconds."""

_DONE = ""
_TRIAL = (
    "import sys; from ganforge.plugins.trial import announce_plugins; "
    "announce_plugins(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])"
)


def find_fatal_plugins(
    files: Sequence[Path] = (), disabled: Collection[str] = (), timeout: float = TIMEOUT
) -> dict[str, str]:
    """Import all plugins in another process, and repeat without the fatal ones until it succeeds.

    Args:
        files: One-file plugins.
        disabled: Names of plugins to skip.
        timeout: Timeout of one plugin's import, in seconds.

    Returns:
        Reason by name, for each plugin that ended the process or timed out.
    """
    fatal: dict[str, str] = {}
    while found := _try_plugins(files, [*disabled, *fatal], timeout):
        name, reason = found
        if not name or name in fatal:
            break
        fatal[name] = reason
    return fatal


def _try_plugins(files: Sequence[Path], disabled: Sequence[str], timeout: float) -> tuple[str, str] | None:
    """Return name and reason of the first fatal plugin; None if there is none."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", _TRIAL, str(writer), str(len(files)), *map(str, files), *disabled]
    child = subprocess.Popen(command, pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.DEVNULL)
    os.close(writer)
    names, reason = "", ""
    with os.fdopen(reader, "rb", buffering=0) as announced, selectors.DefaultSelector() as waiting:
        waiting.register(announced, selectors.EVENT_READ)
        while waiting.select(timeout):
            content = announced.read(1 << 16)
            if not content:
                break
            names += content.decode()
        else:
            reason = f"its import takes more than {timeout:g} s"
            child.kill()
    code = child.wait()
    announced_names = names.split("\n")[:-1]
    if not announced_names or announced_names[-1] == _DONE:
        return None
    return announced_names[-1], reason or f"its import ends the process with exit code {code}"


def announce_plugins(descriptor: int, count: int, given: Sequence[str]) -> None:
    """Import all plugins, and write each name to a pipe before its import, one per line; end with an empty line.

    `given` holds `count` files, then names of disabled plugins.
    """

    def announce(name: str) -> None:
        os.write(descriptor, f"{name}\n".encode())

    with suppress(PluginError):  # of a file; the process that asked reports it
        load_plugins([Path(each) for each in given[:count]], given[count:], announce)
    announce(_DONE)
