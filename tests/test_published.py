"""Published GANs as plugins of at most 150 lines: each trains, resumes, samples, is exported and evaluated."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganforge.contract.data import DataSpec, Number
from ganforge.contract.step import Pair, Step
from ganforge.plugins.loading import load_plugins
from ganforge.runs.checkpoint import read_tensors

FOLDER = Path(__file__).with_name("published")
DRAW = np.random.default_rng(0)


def pictures(channels, dtype=np.uint8):
    return DRAW.integers(0, np.iinfo(dtype).max, (24, channels, 16, 8), dtype=dtype)


CASES = {
    "biggan": (pictures(3), np.arange(24) % 3, ["part=2", "width=4", "embedding=3"], ["width=4"]),
    "began": (pictures(1), None, ["z_dim=4", "width=4"], ["code=4", "width=4"]),
    "matching": (
        pictures(3),
        DRAW.normal(size=(24, 64)).astype(np.float32),
        ["z_dim=4", "width=4", "compressed=8"],
        ["width=4", "compressed=8"],
    ),
    "dcgan": (pictures(6, np.uint16), None, ["z_dim=4", "width=4"], ["width=4"]),  # 6 channels of 16 bits
}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_published_gan_takes_at_most_150_lines(path):
    assert len(path.read_text().splitlines()) <= 150


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_trains_goes_on_to_the_same_bytes_samples_is_exported_and_evaluated(run, here, name):
    examples, labels, generator, discriminator = CASES[name]
    np.save("data.npy", examples)
    if labels is not None:
        np.save("data.labels.npy", labels)
    plugins = [word for each in (name, "thumbnail") for word in ("--plugin", FOLDER / f"{each}.py")]
    plugins = plugins[2:] if name == "dcgan" else plugins

    def call(*words):
        code, out, err = run(*words, *plugins)
        assert code == 0, err
        return out + err

    small = [f"generator.{each}" for each in generator] + [f"discriminator.{each}" for each in discriminator]
    flags = [word for each in [*small, "training.tick_images=16"] for word in ("--set", each)]
    train = [*f"train --arch {name} --data data.npy --batch 8 --device cpu --engine eager".split(), *flags]
    call(*train, "--images", 48, "--name", "whole")
    call(*train, "--images", 16, "--name", "stopped")
    call("train", "--resume", "--images", 48)
    whole, stopped = sorted((here / "runs").iterdir())
    ours, theirs = (read_tensors(each / "checkpoints" / "000000048.safetensors")[0] for each in (stopped, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert (whole / "generator.safetensors").read_bytes() == (stopped / "generator.safetensors").read_bytes()
    assert Path(call("sample", whole, "--count", 4, "--out", ".").split()[-1]).is_file()
    assert "equal" in call("export", whole, "--torchscript")
    assert "kd_thumbnail" in call("eval", whole, "--kid", "--samples", 24, "--extractor", "thumbnail")


def parts(name):
    (found,) = (each.parts for each in load_plugins(files=[FOLDER / f"{name}.py"]) if each.name == name)
    return found


def test_truncation_limits_latents_and_their_parts_reach_their_own_blocks():
    generator = parts("biggan")["generator"]["biggan"](DataSpec((3, 16, 16), ("a", "b")), part=2, width=4).eval()
    z, labels = torch.randn(64, generator.z_dim), torch.zeros(64, dtype=torch.int64)
    seen = []
    generator.first.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    for truncation in (1.0, 0.25):
        generator(z, labels, truncation)
    assert torch.equal(seen[0], z[:, :2])
    assert seen[1].abs().max() <= 0.5 < seen[0].abs().max()
    assert torch.equal(seen[1].argsort(0), seen[0].argsort(0))
    assert generator.z_dim == 2 * (1 + len(generator.blocks))


def test_k_rises_where_generated_images_have_too_small_errors_and_stays_in_its_range():
    balance = parts("began")["loss"]["balance"](diversity=0.5, rate=0.1)
    logits = Pair(torch.tensor([-4.0]), torch.tensor([-1.0]))
    assert balance.discriminator(logits).item() == 4
    assert balance.k.item() == pytest.approx(0.1)
    assert balance.discriminator(logits).item() == pytest.approx(3.9)
    for _ in range(20):
        balance.discriminator(logits)
    assert balance.k.item() == 1


def test_an_embedding_of_another_image_counts_as_fake():
    data = DataSpec((3, 8, 8), numbers=tuple(Number(str(index), 0.0, 1.0) for index in range(64)))
    found = parts("matching")
    discriminator = found["discriminator"]["embedding"](data, width=2, compressed=4)
    images, labels = torch.randn(4, 3, 8, 8), torch.randn(4, 64)
    step = Step(None, discriminator, images=Pair(images, images), latents=torch.zeros(4, 1), labels=labels)
    expected = torch.nn.functional.softplus(discriminator(images, labels[[3, 0, 1, 2]])).mean()
    assert torch.allclose(found["regularizer"]["matching"]().discriminator(step), expected)
