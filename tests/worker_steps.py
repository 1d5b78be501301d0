"""Takes some steps in each case, as one process among several or alone, and writes what became of the players.

Run by tests/test_distributed.py: python worker_steps.py FOLDER DTYPE PARTS
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from test_extra_outputs import PLUGIN as EXTRAS

from ganforge import Regularizer, Step
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.core.distributed import WorkerError, join_workers
from ganforge.core.seeding import seed_everything
from ganforge.data.store import PackedData
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import digest_tensors
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.loading.sampler import Batches
from ganforge.training.state import build_state
from ganforge.training.steps import read_batch, take_step

STYLES = ["generator.mapping_layers=2", "generator.w_dim=8", "generator.z_dim=8"]
CASES = {
    # recipe, regularizers, settings, augmentations
    "dcgan r1": ("dcgan", ["r1:every=1"], ["training.d_steps=2"], []),
    "mlp r1, whole": (
        "mlp",
        ["r1:every=1", "pool"],
        ["generator.hidden=8,8", "discriminator.hidden=8,8", "discriminator.dropout=0"],
        [],
    ),
    "wgan-gp lazy r1": ("wgan-gp", ["r1:every=2", "queue"], ["training.d_steps=2"], []),
    "stylegan2 path length": ("stylegan2", ["path-length:every=1", "r1:every=2"], STYLES, []),
    "stylegan path length ada": ("stylegan", ["path-length:every=2"], STYLES, ["ada:images=64"]),
    "extra outputs": (
        "mlp",
        ["likeness", "r1:weight=0", "r2:weight=0"],
        ["generator.name=two-sizes", "discriminator.name=both-sizes"],
        ["diffaugment"],
    ),
    "classes, historical averaging": ("projection", ["historical-averaging"], [], ["diffaugment"]),
}


class Queue(Regularizer):
    """Keeps a queue, which must not be averaged, of floating-point numbers and of integers."""

    unaveraged_buffers = ("queue", "labels")

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.zeros(4))
        self.register_buffer("labels", torch.zeros(4, dtype=torch.int64))

    def discriminator(self, step: Step) -> None:
        newest = step.images.real.detach().mean()[None]
        self.queue = torch.cat((self.queue[1:], newest))
        self.labels = torch.cat((self.labels[1:], (newest * 1e6).long()))
        step.log("newest", newest[0])


class Pool(Regularizer):
    """Keeps the last ten generated images of whole batches, and logs by how much the mean of new ones differs."""

    unaveraged_buffers = ("images",)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(10, 3, 16, 16))

    def discriminator(self, step: Step) -> None:
        step.log("difference", step.images.fake.mean() - self.images.mean())
        step.collect("fake", step.images.fake)

    def update(self, collected: Mapping[str, torch.Tensor]) -> None:
        self.images = torch.cat((self.images, collected["fake"]))[-10:]


SMALL = ["training.batch=8"]
NARROW = ["generator.width=4", "discriminator.width=4"]
STEPS = 3


def main(folder: Path, dtype: str, parts: int) -> None:
    torch.set_default_dtype(getattr(torch, dtype))
    torch.set_num_threads(1)
    device = torch.device("cpu")
    workers = join_workers(torch.device("cpu"))
    torch.manual_seed(7)
    examples = torch.randint(0, 256, (50, 3, 16, 16), dtype=torch.uint8)
    data = PackedData("test", examples, torch.arange(50) % 3, ("a", "b", "c"), "abc")
    queue = Plugin("queue", "queue", "1", "ok", parts={"regularizer": {"queue": Queue}})
    pool = Plugin("pool", "pool", "1", "ok", parts={"regularizer": {"pool": Pool}})
    registry = Registry([*Registry.installed().plugins, queue, pool, EXTRAS])
    for name, (recipe, regularizers, settings, augmentations) in CASES.items():
        layers = load_layers(
            None,
            {"recipe": recipe},
            regularizers,
            [*SMALL, *(NARROW if recipe != "mlp" else []), *settings],
            augmentations,
        )
        config = resolve(registry, *layers)
        state = build_state(config, registry, data.spec, device)
        state.ema.to(torch.get_default_dtype())
        engine = Engine(
            ExecutionPlan(accumulate=1 if name.endswith("whole") and workers.size == 1 else parts),
            device,
            workers=workers,
        )
        batches, rows = Batches(data, 0, device), {}
        for index in range(STEPS):
            seed_everything(0, "step", index)
            state.apply_schedules(config.optimizer)
            shown = [
                read_batch(state, batches, engine, state.images + 8 * number, 8)
                for number in range(config.training.d_steps)
            ]
            for number, batch in enumerate(shown):
                for what in ("real", "latents"):
                    rows[f"seen {index} {number} {what}"] = workers.gather(getattr(batch, what))
            shown = [replace(batch, real=batch.real.to(torch.get_default_dtype())) for batch in shown]
            for number, row in enumerate(take_step(state, shown, index, engine)):
                rows |= {f"row {index} {number} {key}": value.reshape(1).clone() for key, value in row.items()}
            state.update_ema(8, half_life=20)
        tensors = {key: value.detach().clone().contiguous() for key, value in state.tensors().items()} | rows
        workers.check_equal(digest_tensors(tensors), name)
        if workers.is_main:
            safetensors.torch.save_file(tensors, folder / f"{name}.safetensors")
    if workers.size > 1:
        try:
            workers.check_equal(f"{workers.rank % 2:064x}", "numbers")
        except WorkerError as error:
            (folder / f"apart-{workers.rank}.txt").write_text(error.message)
    workers.close()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
