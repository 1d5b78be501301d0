"""Run an exported file in a subprocess without ganforge and plugins."""

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


def run_subprocess(
    script: str, name: str, content: bytes, tensors: Mapping[str, Tensor], plain: Any, *arguments: str
) -> dict[str, Tensor]:
    """Run a Python script on an exported file.

    Args:
        script: Source. It gets a folder and `arguments`, reads the exported file, ``inputs.safetensors`` and
            ``inputs.json`` there, and writes ``outputs.safetensors``.
        name: Name of the exported file, such as ``model.pt``.
        content: Content of the exported file.
        tensors: Content of ``inputs.safetensors``.
        plain: Content of ``inputs.json``.
        arguments: Further arguments of the script.

    Returns:
        Content of ``outputs.safetensors``.

    Raises:
        GanforgeError: The script failed, or the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="ganforge-export-") as temporary:
            folder = Path(temporary)
            (folder / name).write_bytes(content)
            save_file(
                {key: value.clone().contiguous() for key, value in tensors.items()}, folder / "inputs.safetensors"
            )
            (folder / "inputs.json").write_text(json.dumps(plain))
            command = [sys.executable, "-P", "-W", "ignore", "-c", script, str(folder), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise GanforgeError(f"the exported file fails, the network does not: {last}", "nothing was written")
            return load_file(folder / "outputs.safetensors")
    except (OSError, SafetensorError) as error:
        where = tempfile.gettempdir()
        raise GanforgeError(f"the export cannot be verified in {where}: {error}", "free disk space there") from error
