"""Exporter of a folder in the hub's layout."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ganforge import Exporter, ExportReport, GanforgeError, Generator, save_generator
from ganforge.core.images import encode_png
from ganforge.runs.marking import xmp_packet
from safetensors.torch import load_file

from ganforge_huggingface.model_card import write_card
from ganforge_huggingface.samples import draw_samples

WEIGHTS, CARD, SAMPLES, DESCRIPTION = "generator.safetensors", "README.md", "samples.png", "config.json"
"""Files of the layout: weights, model card, samples, description."""

LAYOUT = [WEIGHTS, CARD, SAMPLES, DESCRIPTION, "origin.json"]
"""All files of the layout, with the origin that `ganforge export` adds."""


class HubExporter(Exporter):
    """Exporter of a folder in the Hugging Face Hub's layout: weights, description, samples and a model card.

    Args:
        license: License of the weights, by the hub's name, such as ``mit``; empty for the one recorded at import.
        dataset: Name of the training data on the hub; empty to omit it.
        repo: Name on the hub, such as ``user/name``, for the commands in the model card.
        title: Heading of the model card; empty for the default.
    """

    suffix = "-hub"

    def __init__(self, *, license: str = "", dataset: str = "", repo: str = "USER/NAME", title: str = "") -> None:
        self._license = license
        self._dataset = dataset
        self._repo = repo
        self._title = title

    def export(self, generator: Generator, card: Mapping[str, Any], path: Path) -> ExportReport:
        weights = generator.state_dict()
        with tempfile.TemporaryDirectory(prefix="ganforge-hub-") as made:
            draft = Path(made)
            save_generator(draft / WEIGHTS, weights, card)
            written = load_file(draft / WEIGHTS)
            if written.keys() != weights.keys() or not all(
                torch.equal(tensor, weights[name].cpu()) for name, tensor in written.items()
            ):
                raise GanforgeError(f"{path}: the written weights differ from the network", "export again")
            samples = draw_samples(generator, card)
            if samples:
                (draft / SAMPLES).write_bytes(encode_png(samples, xmp_packet(card, "seeds 0-31")))
            (draft / DESCRIPTION).write_text(json.dumps({"library_name": "ganforge", **card}, indent=2) + "\n")
            text = write_card(
                card,
                title=self._title,
                license_name=self._license,
                dataset=self._dataset,
                repo=self._repo,
                samples=SAMPLES if samples else None,
            )
            (draft / CARD).write_text(text, encoding="utf-8")
            num_bytes = _put(draft, path)
        return ExportReport(path, num_bytes, len(weights), 0.0, "tensors, read back")


def _put(draft: Path, path: Path) -> int:
    """Copy the files of a draft to `path`, keep other files there, and return the size of the folder, bytes."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        for file in draft.iterdir():
            waiting = path / f".{file.name}.partial"
            shutil.copyfile(file, waiting)
            waiting.replace(path / file.name)
    except OSError as error:
        raise GanforgeError(f"{path} cannot be written: {error.strerror}", "choose another folder by --to") from error
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
