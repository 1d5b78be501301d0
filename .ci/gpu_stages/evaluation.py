"""Stage 4: features, scores, samples in bfloat16, and exported files."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from pathlib import Path

import torch
from items import Context, Item, device_of, require, succeed
from training import FEW, NARROW

from ganforge.core.accelerator import synchronize
from ganforge.evaluation.extractors.inception_network import Inception
from ganforge.evaluation.features.extraction import full_float32
from ganforge.export.inductor import InductorExporter
from ganforge.export.torchscript import TorchScriptExporter
from ganforge.runs.checkpoint import load_generator


def compare_inceptions(context: Context) -> None:
    """Time Inception with random weights beside torch-fidelity's, and compare their features."""
    from torch_fidelity import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object) -> None:
            """Keep what the constructor drew."""

    device = device_of(context)
    nothing = Path(tempfile.mkdtemp(dir=context.work)) / "nothing.pth"
    torch.save({}, nothing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Blank("blank", ["2048"], feature_extractor_weights_path=str(nothing))
    ours = Inception(theirs.state_dict()).to(device)
    theirs = theirs.to(device)
    for batch in context.pick((64, 256), (2,)):
        images = torch.randint(256, (batch, 3, 64, 64), dtype=torch.uint8, device=device)
        for name, network in (("torch-fidelity", theirs), ("ganforge", ours)) * context.pick(3, 1):
            with torch.no_grad(), full_float32():
                for count in context.pick((3, 30), (1,)):
                    synchronize(device)
                    start = time.perf_counter()
                    for _ in range(count):
                        found = network(images)[0]
                    synchronize(device)
            print(f"{name}, batch {batch}: {batch * count / (time.perf_counter() - start):.0f} images/s", flush=True)
        with torch.no_grad(), full_float32():
            error = float((ours(images)[0] - theirs(images)[0]).norm() / theirs(images)[0].norm())
        print("relative difference", error, "norm", float(found.norm()))
        require(error < 1e-4, "features differ")


def train_small(context: Context, recipe: str) -> Path:
    """Train a small run, and return its folder."""
    device_of(context)
    os.environ["GANFORGE_CACHE"] = str(context.work / "cache")
    sizes = context.pick(["--images", "20k", "--set", "data.count=2000"], ["--images", 64, "--batch", 8, *FEW])
    sizes += NARROW if context.rehearse and recipe != "mlp" else []
    plan = ["--engine", "eager", "--precision", "float32", "--set", "training.layout=contiguous"]
    succeed(
        "train", "--arch", recipe, "--resolution", context.pick(32, 16), "--device", context.device, *plan, *sizes,
        "--out", context.work, "--name", recipe,
    )  # fmt: skip
    return next(context.work.glob(f"*{recipe}*"))


def score(context: Context) -> None:
    """Score a run with features of a classifier."""
    folder = train_small(context, "dcgan")
    count = context.pick([], ["--samples", 64])
    succeed(
        "eval", folder, "--fid", "--kid", "--prc", "--memorization", "--extractor", "classifier",
        "--device", context.device, *count,
    )  # fmt: skip


def sample_truncated(context: Context) -> None:
    """Sample in bfloat16 with truncation."""
    for recipe in ("stylegan", "stylegan2"):
        folder = train_small(context, recipe)
        for precision in ("float32", "bfloat16"):
            succeed(
                "sample", folder, "--count", context.pick(512, 8), "--truncation", 0.7, "--precision", precision,
                "--to", context.work / f"{recipe}-{precision}", "--device", context.device,
            )  # fmt: skip


def export_files(context: Context) -> None:
    """Export generators as TorchScript and native code on the device, which verifies them in a process of its own."""
    for recipe in context.pick(("dcgan", "stylegan"), ("mlp",)):
        generator, card = load_generator(train_small(context, recipe) / "generator.safetensors")
        both = TorchScriptExporter(device=context.device), InductorExporter(device=context.device)
        for exporter in both[: 1 if context.rehearse else 2]:  # the compiler is tested elsewhere, and slow
            start = time.perf_counter()
            report = exporter.export(generator, card, context.work / f"{recipe}{exporter.suffix}")
            seconds = time.perf_counter() - start
            print(f"{report.path.name}: off by {report.worst_difference:.2g}, {seconds:.1f} s", flush=True)


ITEMS = [
    Item("inception", 120, compare_inceptions),
    Item("scores", 120, score),
    Item("truncated samples", 120, sample_truncated),
    Item("exported files", 200, export_files),
]
