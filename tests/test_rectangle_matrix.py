"""Convolutional generators on images of any height, width and channels: from training to the C++ program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from forking import call_main, run_child
from killer import compare_folders
from PIL import Image
from test_cpp import SOURCE, build, read

import ganforge.training.loop as loop
from ganforge import generate, load
from ganforge.core.images import grid, to_uint8
from ganforge.plugins.loading import load_plugins
from ganforge.plugins.registry import Registry

SIZES, CHANNELS = [(48, 64), (96, 64), (64, 32)], [1, 3, 4, 6]
STYLES = "generator.z_dim=5 generator.w_dim=6 generator.mapping_layers=1"
STAGES = "growing=true start_resolution=4 stage_images=4 fade_images=4"
ARCHITECTURES = {
    "dcgan": ("dcgan", "", "width=4 max_width=8"),
    "pggan": ("pggan", "", "width=4 max_width=8 growing=false"),
    "pggan-growing": ("pggan", "", f"width=4 max_width=8 {STAGES}"),
    "stylegan": ("stylegan", STYLES, "width=4 max_width=8"),
    "stylegan-growing": ("stylegan", STYLES, f"width=4 max_width=8 {STAGES}"),
    "stylegan2": ("stylegan2", STYLES, "width=4 max_width=8"),
    "sngan": ("sngan", "training.d_steps=1", "width=16"),
    "r3gan": ("r3gan", "generator.z_dim=5", "width=8 group_width=4 blocks=1"),
    "pix2pix": ("pix2pix", "generator.max_width=8", "width=4"),
}
"""Recipe, settings, and options of both players."""

PLUGIN = """
import torch
from ganforge import Dataset, Paired, RunMetric, hookimpl

class Pairs(Dataset):
    def __init__(self, *, channels: int = 3, height: int = 8, width: int = 8):
        draw = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(256, (24, height, width, channels), generator=draw, dtype=torch.uint8)

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return Paired(image=self.pixels[index], source=255 - self.pixels[index])

class Brightness(RunMetric):
    def measure(self, run, request, reporter):
        return float(torch.cat(list(run.generate(request.count, request.seed, request.truncation))).mean())

@hookimpl
def ganforge_datasets():
    return {"pairs": Pairs}

@hookimpl
def ganforge_metrics():
    return {"brightness": Brightness}
"""

CELLS = list(product(ARCHITECTURES, SIZES, CHANNELS))


@contextmanager
def killed_at_step(number):
    """Kill the process when training comes to a step."""

    def seed(first, *rest):
        if rest[:2] == ("step", number):
            os.kill(os.getpid(), signal.SIGKILL)
        original(first, *rest)

    original = loop.seed_everything
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "seed_everything", seed)
        yield


def flags_of(name, size, channels, folder):
    """Arguments of a training run of six steps, and of its plugin; writes the data."""
    recipe, settings, options = ARCHITECTURES[name]
    if recipe not in Registry.installed().names("recipe"):
        pytest.skip(f"needs the package ganforge-{recipe}")
    settings = settings.split()
    settings += [f"{player}.{each}" for player in ("generator", "discriminator") for each in options.split()]
    settings += ["training.samples=4", "training.tick_images=8", "training.checkpoint_images=8"]
    if recipe == "pix2pix":
        (folder / "pairs.py").write_text(PLUGIN)
        data = ["--data", "pairs"]
        settings += [f"data.channels={channels}", f"data.height={size[0]}", f"data.width={size[1]}"]
        plugin = ["--plugin", folder / "pairs.py"]
    else:
        plugin = []
        pixels = np.random.default_rng(0).integers(0, 128, (48, *size, channels), np.uint8)
        pixels[::2] += 128  # one class is brighter
        np.save(folder / "images.npy", pixels)
        np.save(folder / "images.labels.npy", np.arange(48) % 2)
        data = ["--data", folder / "images.npy"]
    flags = ["train", "--arch", recipe, *data, "--device", "cpu", "--engine", "eager", "--batch", "4", "--images", "24"]
    return [*flags, *(each for setting in settings for each in ("--set", setting))], plugin


def live(run, here, name, size, channels):
    """Train, be killed, resume to the same bytes, sample, be evaluated and exported; returns the run and its file."""

    def succeed(*arguments):
        code, out, err = run(*arguments, *plugin)
        assert code == 0, (arguments, err)
        return out

    flags, plugin = flags_of(name, size, channels, here)
    for place in ("whole", "killed"):
        (here / place).mkdir()
    succeed(*flags, "--out", here / "whole" / "runs")
    with killed_at_step(3):
        done = run_child(lambda: call_main([*flags, *plugin, "--out", "runs"]), here / "killed", 300)
    assert done.code == -signal.SIGKILL, done.err
    (whole,), (killed,) = ((here / place / "runs").iterdir() for place in ("whole", "killed"))
    succeed("train", "--resume", killed)
    assert compare_folders(killed, whole) == []

    translates = name == "pix2pix"
    if translates and channels in (1, 3):
        source = np.random.default_rng(0).integers(0, 256, (*size, channels), np.uint8)
        Image.fromarray(source.squeeze()).save(here / "source.png")
        command = ["--source", here / "source.png"]
    else:
        command = ["--count", 6, "--seed", 2]
    if not translates or channels in (1, 3):
        drawn = [here / f"{each.parent.parent.name}.{'npy' if channels > 4 else 'png'}" for each in (whole, killed)]
        for each, file in zip((whole, killed), drawn, strict=True):
            succeed("sample", each, *command, "--to", file)
        assert drawn[0].read_bytes() == drawn[1].read_bytes()

    metric = ["--metric", "brightness"] if translates else ["--fid", "--extractor", "classifier"]
    row = json.loads(succeed("eval", killed, *metric, "--samples", 24, "--json"))[0]
    assert np.isfinite(row["value"])

    succeed("export", killed, "--torchscript", "--to", here / "generator.pt")
    network, exported = (
        load(killed, Registry(load_plugins([Path(each) for each in plugin[1:]]))),
        torch.jit.load(here / "generator.pt"),
    )
    sources = torch.rand(2, channels, *size) * 2 - 1 if translates else None
    z = torch.randn(2, network.z_dim)
    made = exported(z, sources) if translates else exported(z)
    assert made.shape == (2, channels, *size)
    torch.testing.assert_close(made, network(z, sources), rtol=0, atol=1e-5)
    return network


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The C++ program of `ganforge export --cpp-project`, which reads any exported file."""
    folder = tmp_path_factory.mktemp("build")
    build(SOURCE, folder, "-DCMAKE_BUILD_TYPE=Release")
    return folder / "ganforge_sample"


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "size", "channels"), CELLS)
def test_every_network_size_and_number_of_channels_comes_to_the_program(run, here, program, name, size, channels):
    network = live(run, here, name, size, channels)
    if name == "pix2pix":
        return  # programs draw from seeds, not from source images
    command = [program, "generator.pt", "--count", "6", "--seed", "2", "--grid", "grid.png"]
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    expected = grid(to_uint8(generate(network, 6, seed=2)))
    if channels > 4:
        expected = expected[[0, channels // 2, channels - 1]]
    drawn = read(here / "grid.png").int()
    assert drawn.shape == expected.shape
    assert (drawn - expected.int()).abs().max() <= 1
