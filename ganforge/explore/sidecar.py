"""A picture and, beside it, what it shows and how to make it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL
import torch

from ganforge.core.atomic_files import write_bytes
from ganforge.version import __version__


def write_record(
    target: Path, content: bytes, *, arguments: Sequence[str], generator: Mapping[str, Any], found: Mapping[str, Any]
) -> None:
    """Write a picture, and a JSON file of the same name beside it.

    The JSON holds no date, so that the same command writes the same bytes.

    Args:
        target: The picture's file; it does not end in ``.json``.
        content: Of that file.
        arguments: What stands behind ``ganforge`` to make it again, every option spelt out.
        generator: The card of the generator's file.
        found: Seeds, options and numbers: all that belongs to the picture.

    Raises:
        GanforgeError: A file cannot be written.
    """
    record = {
        "arguments": list(arguments),
        **found,
        "picture": {"file": target.name, "sha256": hashlib.sha256(content).hexdigest()},
        "generator": {"name": generator["generator"]["name"], "fingerprint": generator["digest"]},
        "versions": {"ganforge": __version__, "torch": str(torch.__version__), "pillow": PIL.__version__},
    }
    write_bytes(target, content)
    write_bytes(target.with_suffix(".json"), (json.dumps(record, indent=2) + "\n").encode())
