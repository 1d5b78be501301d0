"""Export to safetensors: the weights and their card, without code."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ganforge.contract.errors import GanforgeError
from ganforge.contract.exporter import Exporter, ExportReport
from ganforge.contract.networks import Generator
from ganforge.core.atomic_files import write_bytes
from ganforge.runs.checkpoint import digest_tensors, halve_tensors, read_tensors, save_generator


class SafetensorsExporter(Exporter):
    """Weights and card as safetensors, for `ganforge.load` or any reader of safetensors."""

    suffix = ".safetensors"

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        weights = generator.state_dict()
        with tempfile.TemporaryDirectory(prefix="ganforge-export-") as folder:
            draft = Path(folder) / path.name
            save_generator(draft, weights, card)
            written, read_card = read_tensors(draft)  # verifies the digest
            content = draft.read_bytes()
        same = written.keys() == weights.keys() and all(
            torch.equal(tensor, weights[name].cpu()) for name, tensor in written.items()
        )
        digests = (read_card["digest"], digest_tensors(halve_tensors(written)))  # the second of a shipped generator
        if not same or card.get("digest", digests[0]) not in digests:
            raise GanforgeError(
                f"{path}: the weights do not match the generator's card",
                "nothing was written; export the generator as it was loaded",
            )
        write_bytes(path, content)
        return ExportReport(path, len(content), len(written), 0.0, f"tensors, digest {read_card['digest'][:12]}")
