"""A fresh process in which an exported file is run: neither ganforge nor a plugin can help it there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganforge.contract.errors import GanforgeError


def run_fresh(
    script: str, name: str, content: bytes, tensors: Mapping[str, Tensor], plain: Any, *arguments: str
) -> dict[str, Tensor]:
    """Run a Python program beside a file and what it is to be given.

    Args:
        script: The program. Its arguments are a folder and what follows; it reads the file of that name,
            ``inputs.safetensors`` and ``inputs.json`` there and writes ``outputs.safetensors``.
        name: Of the exported file, such as ``model.pt``.
        content: The exported file.
        tensors: What it finds in ``inputs.safetensors``.
        plain: What it finds in ``inputs.json``.
        arguments: Further arguments.

    Returns:
        What it wrote.

    Raises:
        GanforgeError: The program failed, or there is no room for the files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="ganforge-export-") as place:
            folder = Path(place)
            (folder / name).write_bytes(content)
            save_file(
                {key: value.clone().contiguous() for key, value in tensors.items()}, folder / "inputs.safetensors"
            )
            (folder / "inputs.json").write_text(json.dumps(plain))
            command = [sys.executable, "-P", "-W", "ignore", "-c", script, str(folder), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise GanforgeError(f"the exported file fails where the network works: {last}", "nothing was written")
            return load_file(folder / "outputs.safetensors")
    except (OSError, SafetensorError) as error:
        where = tempfile.gettempdir()
        raise GanforgeError(f"the export cannot be checked in {where}: {error}", "make room there") from error
