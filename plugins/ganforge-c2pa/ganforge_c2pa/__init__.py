"""C2PA signatures for the pictures of ganforge."""

from __future__ import annotations

from typing import Any

from ganforge import hookimpl

from ganforge_c2pa.cli import app

GANFORGE_API = 2


@hookimpl
def ganforge_commands() -> dict[str, Any]:
    """Return the command."""
    return {"c2pa": app}
