"""Training from shards in WebDataset's format, local or streamed, for ganforge."""

from __future__ import annotations

from typing import Any

from ganforge import hookimpl

from ganforge_webdataset.dataset import Shards

GANFORGE_API = 1

__all__ = ["Shards"]


@hookimpl
def ganforge_datasets() -> dict[str, Any]:
    """Return the data set."""
    return {"webdataset": Shards}
