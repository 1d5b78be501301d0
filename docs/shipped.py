"""Write the shipped form of a trained run: ``python docs/shipped.py RUN NAME``, e.g. ``runs/3 avatars-dcgan``.

It takes what sampling, exploring, exporting and evaluating need: the generator with its matrices in float16, the
configuration, the last statistics and scores, and a picture.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch

from ganforge.core.atomic_files import append_line, write_bytes
from ganforge.core.images import grid, png_bytes, to_uint8
from ganforge.core.json_schema import to_json
from ganforge.runs.checkpoint import halve_tensors, load_generator, read_card, read_spec, read_tensors, save_generator
from ganforge.runs.folder import RunFolder
from ganforge.runs.marking import name_seeds, xmp_packet
from ganforge.runs.metric_rows import read_rows
from ganforge.runs.shipped import SHIPPED, shipped_names
from ganforge.sampling import default_labels, generate

LICENSE = "MIT"

NUM_COMPARED = 256
"""Samples that are compared with those of the run."""

NUM_SHOWN = 16
"""Samples in the picture."""


def ship(run: RunFolder, name: str) -> None:
    """Write the folder of a shipped generator; an older one of that name is replaced.

    Raises:
        SystemExit: Samples differ from those of the run by a level of 8 bits or more in the mean of an image.
    """
    target = RunFolder(SHIPPED / name)
    shutil.rmtree(target.path, ignore_errors=True)
    tensors, card = read_tensors(run.generator)
    command = f"ganforge train --config ganforge/shipped/{name}/config.json"
    save_generator(target.generator, halve_tensors(tensors), {**card, "license": LICENSE, "command": command})
    target.write_config(run.read_config())
    rows = [row for row in read_rows(run.metrics) if row.images <= card["images"]]
    for row in [*[row for row in rows if row.is_tick][-1:], *[row for row in rows if not row.is_tick][-1:]]:
        append_line(target.metrics, to_json({key: each for key, each in row.tree().items() if key != "picture"}))
    labels = default_labels(NUM_COMPARED, read_spec(card))
    before, after = (
        generate(load_generator(path)[0], NUM_COMPARED, labels=labels) for path in (run.generator, target.generator)
    )
    mark = xmp_packet(read_card(target.generator), name_seeds(range(NUM_SHOWN)))
    write_bytes(target.sample_path(card["images"]), png_bytes(grid(to_uint8(after[:NUM_SHOWN])), mark))
    levels = (before - after).abs().flatten(1).mul(127.5)
    print(
        f"{target.path}: {sum(each.stat().st_size for each in target.path.rglob('*') if each.is_file()) / 1e6:.2f} MB; "
        f"levels of 255 that samples differ by: mean {levels.mean():.3f}, largest {levels.max():.2f}"
    )
    if levels.mean(1).max() >= 1:
        raise SystemExit("float16 changes the samples of this generator")


if __name__ == "__main__":
    torch.set_num_threads(1)
    ship(RunFolder.find(sys.argv[1], Path("runs")), sys.argv[2])
    total = sum(each.stat().st_size for each in SHIPPED.rglob("*.safetensors")) / 1e6
    print(f"{', '.join(shipped_names())}: {total:.2f} MB of weights")
