"""The exporter of web pages, as a plugin."""

from __future__ import annotations

from ganforge import Exporter, hookimpl
from ganforge.web.exporter import WebExporter


@hookimpl
def ganforge_exporters() -> dict[str, type[Exporter]]:
    """Offer the exporter."""
    return {"web": WebExporter}
