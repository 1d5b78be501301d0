"""Source images of another data set, drawn independently of the examples."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.config.schema import TrainingConfig
from ganforge.contract.errors import DataError, OptionError
from ganforge.core.images import to_float
from ganforge.data import open_data
from ganforge.data.conditions import labels_of
from ganforge.data.splits import is_held_out
from ganforge.data.unpaired import add_unpaired_sources
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording.samples import Samples, paint_translations

CPU = torch.device("cpu")


@pytest.fixture
def folders(here):
    """Seven dark gray images, and three bright ones in color, in classes."""
    draw = np.random.default_rng(0)
    for name, count, low, shape in (("dark", 7, 0, (8, 8)), ("bright", 3, 155, (8, 8, 3))):
        for index in range(count):
            (here / name / str(index % 2)).mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(low, low + 100, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(here / name / str(index % 2) / f"{index}.png")
    return here


@pytest.fixture
def data(folders):
    return add_unpaired_sources(open_data("bright"), open_data("dark"))


def places(rows, whole):
    """Return the index of each row among whole examples."""
    return torch.cdist(rows.flatten(1), to_float(whole).flatten(1)).argmin(1).tolist()


def test_every_source_and_every_example_comes_once_in_its_own_epoch(data):
    batches = Batches(data, 5, CPU)
    images, sources = batches.read(0, 42)
    assert sources.shape == (42, 1, 8, 8)
    for side, whole, count in ((images, data.examples, 3), (sources, data.sources.examples, 7)):
        found = places(side, whole)
        assert [sorted(found[start : start + count]) for start in range(0, 42, count)] == [[*range(count)]] * (
            42 // count
        )
    assert torch.equal(images, Batches(open_data("bright"), 5, CPU).read(0, 42)[0])  # as without sources


def test_as_many_examples_and_sources_are_in_unrelated_orders(folders):
    data = open_data("dark")
    images, sources = Batches(add_unpaired_sources(data, data), 0, CPU).read(0, 70)
    same = sum(map(torch.equal, images, sources))
    assert 0 < same < 30  # ten by chance


def test_a_batch_follows_from_its_place_alone(data):
    whole = Batches(data, 1, CPU).read(10, 8)
    batches = Batches(data, 1, CPU)
    parts = [batches.read(start, 2, then=start + 4) for start in (10, 12, 14, 16)]
    for side, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(side, torch.cat(pieces))


def test_the_fingerprint_is_of_both_and_labels_are_dropped(data):
    bright, dark = open_data("bright"), open_data("dark")
    known = {bright.fingerprint, dark.fingerprint, data.fingerprint, add_unpaired_sources(dark, bright).fingerprint}
    assert len(known) == 4
    assert bright.class_names
    assert data.labels is None
    assert (data.spec.shape, data.spec.class_names, data.spec.source_shape) == ((3, 8, 8), (), (1, 8, 8))


def test_sources_of_held_out_indices_are_held_out_too(data):
    share = 0.45
    held = [is_held_out(count, share).nonzero()[:, 0].tolist() for count in (3, 7)]
    assert held[0]
    assert len(held[1]) > len(held[0])
    images, sources = Batches(data, 0, CPU, holdout=share).read(0, 30)
    assert not {*places(images, data.examples)} & {*held[0]}
    assert not {*places(sources, data.sources.examples)} & {*held[1]}
    assert places(labels_of(data, torch.tensor(held[0]))[0:9], data.sources.examples) == held[0]
    samples = Samples(data, TrainingConfig(holdout=share, samples=5))
    assert torch.equal(samples._sources, data.sources.read_pixels(torch.tensor(held[1])[:5]))
    few = add_unpaired_sources(open_data("dark"), open_data("bright"))
    assert len(labels_of(few, torch.tensor([5, 6]))) == 3  # no source has such an index


def test_a_grid_shows_sources_and_translations_without_targets():
    sources, made = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.ones(4, 1, 8, 8)
    picture = paint_translations(sources, made, None)
    assert {*picture.unique().tolist()} == {0, 255}
    assert picture.shape[2] < paint_translations(sources, made, sources).shape[2]


@pytest.mark.parametrize(
    ("examples", "sources", "told"),
    [
        ("bright", "vectors.npy", "data.sources: vectors holds no images"),
        ("vectors.npy", "bright", "data.sources: vectors holds no images"),
        ("bright", "grey", "grey"),
    ],
)
def test_what_is_no_image_is_refused(run, folders, examples, sources, told):
    np.save("vectors.npy", np.zeros((4, 2), np.float32))
    code, _, err = run("train", "--data", examples, "--set", f"data.sources={sources}", "--images", 8)
    assert (code, told in err, "Traceback" in err) == (2, True, False), err


def test_pairs_get_no_other_sources(data):
    with pytest.raises(DataError, match="consists of pairs already"):
        add_unpaired_sources(data, open_data("dark"))


def test_an_empty_side_is_refused(data):
    with pytest.raises(OptionError, match="leaves no training examples"):
        Batches(data, 0, CPU, holdout=0.999999)


def test_a_data_set_with_an_option_of_that_name_keeps_it(run, here):
    (here / "own.py").write_text(
        "import torch\nfrom ganforge import hookimpl\n\n"
        "def own(*, sources: str = ''):\n    return [torch.zeros(8, len(sources), dtype=torch.uint8)] * 9\n\n"
        "@hookimpl\ndef ganforge_datasets():\n    return {'own': own}\n"
    )
    code, out, err = run("--plugin", "own.py", "data", "check", "own", "--set", "data.sources=12345678", "--json")
    assert code == 0, err
    assert json.loads(out)["shape"] == [8, 8, 1]


def test_both_folders_are_checked_and_the_command_trains_on_both(run, folders):
    code, out, err = run("data", "check", "bright", "--set", "data.sources=dark")
    assert code == 0, err
    assert "bright: folder, 3 examples" in out
    assert "dark: folder, 7 examples" in out
    command = out.splitlines()[-1]
    assert "ganforge train --data bright --set data.sources=dark" in command
    assert "--augment" not in command  # refused for sources
    (folders / "dark" / "0" / "0.png").write_bytes(b"")
    code, out, err = run("data", "check", "bright", "--set", "data.sources=dark", "--json")
    assert code == 2
    assert not json.loads(out)["usable"]
    assert json.loads(out)["sources"]["problem"]


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bytes_and_is_tied_to_its_sources(run, folders):
    def train(*words):
        return run("train", *words, "--device", "cpu")

    start = ["--data", "bright", "--generator", "mlp", "--discriminator", "mlp", "--batch", 4, "--engine", "eager"]
    settings = ["data.sources=dark", "generator.hidden=8", "discriminator.hidden=8", "training.layout=contiguous"]
    settings += ["training.precision=float32", "training.threads=1", "training.samples=4"]
    start += [word for each in settings for word in ("--set", each)]
    for name, images in (("whole", 24), ("halves", 12)):
        code, _, err = train(*start, "--images", images, "--name", name)
        assert code == 0, err
    code, _, err = train("--resume", "00001-halves", "--images", 24)
    assert code == 0, err
    whole, halves = ((folders / "runs" / name) for name in ("00000-whole", "00001-halves"))
    assert (whole / "generator.safetensors").read_bytes() == (halves / "generator.safetensors").read_bytes()
    assert json.loads((whole / "config.json").read_text())["data"]["sources"] == "dark"
    shutil.copy(folders / "dark" / "0" / "0.png", folders / "dark" / "1" / "0.png")
    code, _, err = train("--resume", "00001-halves", "--images", 36)
    assert (code, "fingerprint" in err) == (2, True), err
