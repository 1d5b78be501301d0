"""C2PA signatures for the pictures of ganforge."""

from __future__ import annotations

from typing import Any

from ganforge import hookimpl

from ganforge_c2pa.cli import app
from ganforge_c2pa.signing import Verified, sign, verify

GANFORGE_API = 2

__all__ = ["Verified", "sign", "verify"]


@hookimpl
def ganforge_commands() -> dict[str, Any]:
    """Return the command."""
    return {"c2pa": app}
