"""Examples that come with an image, which a generator is given in place of labels."""

import importlib.util
import io
import json
import shutil

import numpy as np
import pytest
import torch
from marks import MIXED, read_mark
from PIL import Image
from torch import nn

import ganforge
from ganforge import Dataset, Discriminator, Generator, Paired, Regularizer
from ganforge.benchmark.training_setup import draw_noise
from ganforge.builtin.metrics import METRICS
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import DataError, OptionError, PluginError
from ganforge.core.images import to_float, to_uint8
from ganforge.data import PackedData, open_data, pack_data, store
from ganforge.data.conditions import SourceFiles, draw_labels, labels_of
from ganforge.data.difference import describe_difference
from ganforge.data.packer import pack
from ganforge.data.splits import is_held_out
from ganforge.evaluation.scoring import FeatureScore, FeatureScorer
from ganforge.export.onnx import OnnxExporter
from ganforge.export.torchscript import TorchScriptExporter
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator
from ganforge.session.api import Run
from ganforge.testing import check_discriminator, check_export, check_generator
from ganforge.training.loading.prefetch import PrefetchingFeeder, ResidentFeeder
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording.samples import paint_translations

CPU = torch.device("cpu")

SPEC = DataSpec((3, 8, 8), (), (1, 8, 8))

PLUGIN = '''
import torch
from torch import nn
from ganforge import Dataset, Discriminator, Generator, Paired, Recipe, Regularizer, hookimpl


class Negatives(Dataset):
    """A dark picture, to be made of the grey one that is its negative."""

    def __init__(self, *, count: int = 40) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Paired:
        source = torch.Generator().manual_seed(index)
        shades = torch.randint(0, 256, (8, 8), generator=source).to(torch.uint8)
        colour = torch.tensor([1, 2, 1], dtype=torch.uint8)
        return Paired(image=(255 - shades)[:, :, None] // colour, source=shades)

    def cache_key(self) -> str:
        return f"negatives-{self.count}"


class Pixelwise(Generator):
    """Each pixel of that of the source; noise in training."""

    def __init__(self, data, *, width: int = 8) -> None:
        super().__init__()
        self.z_dim = 1
        self.layers = nn.Sequential(
            nn.Conv2d(data.source_shape[0], width, 1), nn.Tanh(), nn.Dropout(0.1), nn.Conv2d(width, data.shape[0], 1)
        )

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        if labels is None:
            raise ValueError("give sources")
        return torch.tanh(self.layers(labels))


class Patches(Discriminator):
    """Four patches of a pair."""

    def __init__(self, data) -> None:
        super().__init__()
        self.layer = nn.Conv2d(data.source_shape[0] + data.shape[0], 1, 4, stride=4)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        assert labels is not None
        return self.layer(torch.cat([labels, images], dim=1)).flatten()


class Near(Regularizer):
    """L1."""

    weight = 10.0

    def generator(self, step):
        return (step.images.fake - step.images.real).abs().mean()


@hookimpl
def ganforge_datasets():
    return {"negatives": Negatives}


@hookimpl
def ganforge_generators():
    return {"pixelwise": Pixelwise}


@hookimpl
def ganforge_discriminators():
    return {"patches": Patches}


@hookimpl
def ganforge_regularizers():
    return {"near": Near}


@hookimpl
def ganforge_recipes():
    parts = {"generator": {"name": "pixelwise"}, "discriminator": {"name": "patches"}, "loss": {"name": "nonsat"}}
    rates = {"generator_lr": 1e-2, "discriminator_lr": 1e-3}
    plan = {"engine": "eager", "precision": "float32", "layout": "contiguous", "threads": 1, "device": "cpu"}
    training = {**plan, "batch": 4, "samples": 6, "tick_images": 200, "ema_images": 0}
    more = {"regularizers": {"near": {}}, "optimizer": rates, "training": training}
    return {"negative": Recipe("Negatives.", "nobody", {"data": {"source": "negatives"}, **parts, **more})}
'''


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Definitions of the plugin, by name."""
    path = tmp_path_factory.mktemp("plugin") / "pairs.py"
    path.write_text(PLUGIN)  # TorchScript reads the source
    found = importlib.util.spec_from_file_location("pairs_under_test", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return vars(module)


def noise(seed, height, width, channels=3):
    return torch.randint(
        0, 256, (height, width, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def some_pairs(count=6, size=8, source_size=8, channels=1):
    return [Paired(noise(i, size, size), noise(100 + i, source_size, source_size, channels)) for i in range(count)]


def packed_pairs(count=6, **options):
    return pack(some_pairs(count, **options), "pairs", title="pairs")


# ---- data ----


def test_sources_lie_beside_their_examples_in_one_order():
    items = some_pairs(6, source_size=4)
    data = pack(items, "pairs", title="pairs")
    assert data.spec == DataSpec((3, 8, 8), (), (1, 4, 4))
    for index, item in enumerate(items):
        assert torch.equal(data.examples[index], item.image.permute(2, 0, 1))
        assert torch.equal(data.sources.examples[index], item.source.permute(2, 0, 1))


def test_pairs_are_the_same_in_memory_on_disk_and_saved_again(tmp_path):
    in_memory = packed_pairs()
    on_disk = pack(some_pairs(), "pairs", title="pairs", folder=tmp_path / "packed")
    in_memory.save(tmp_path / "saved")
    saved = PackedData.load(tmp_path / "saved")
    for other in (on_disk, saved):
        assert other.fingerprint == in_memory.fingerprint
        assert other.spec == in_memory.spec
        assert torch.equal(other.sources.examples, in_memory.sources.examples)
        assert other.is_intact()


def test_the_fingerprint_is_of_the_sources_too():
    items = some_pairs()
    swapped = [Paired(item.image, items[index - 1].source) for index, item in enumerate(items)]
    found = [pack(each, "x", title="x").fingerprint for each in (items, swapped, [item.image for item in items])]
    assert len(set(found)) == 3


def test_one_flipped_bit_in_a_source_is_noticed(tmp_path):
    packed_pairs().save(tmp_path / "packed")
    path = tmp_path / "packed" / "sources" / "examples.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert not PackedData.load(tmp_path / "packed").is_intact()


def test_sources_that_belong_to_other_data_are_refused(tmp_path):
    packed_pairs(6).save(tmp_path / "one")
    packed_pairs(5).save(tmp_path / "two")
    shutil.rmtree(tmp_path / "one" / "sources")
    with pytest.raises(DataError, match="is not a packed folder"):
        PackedData.load(tmp_path / "one")
    shutil.copytree(tmp_path / "two" / "sources", tmp_path / "one" / "sources")
    with pytest.raises(DataError, match="does not match its folder"):
        PackedData.load(tmp_path / "one")


def test_sources_that_lead_back_to_their_own_folder_are_refused(tmp_path):
    packed_pairs().save(tmp_path / "packed")
    shutil.rmtree(tmp_path / "packed" / "sources")
    (tmp_path / "packed" / "sources").symlink_to(tmp_path / "packed")
    with pytest.raises(DataError, match="has sources itself"):
        PackedData.load(tmp_path / "packed")


def test_a_resolution_holds_for_both_sides(tmp_path):
    packed_pairs(source_size=16).save(tmp_path / "packed")
    as_it_is = open_data(str(tmp_path / "packed"))
    assert as_it_is.spec == DataSpec((3, 8, 8), (), (1, 16, 16))
    resized = open_data(str(tmp_path / "packed"), resolution=8)
    assert resized.spec == DataSpec((3, 8, 8), (), (1, 8, 8))
    assert torch.equal(resized.examples, as_it_is.examples)
    again = pack_data(str(tmp_path / "packed"), tmp_path / "again", resolution=4)
    assert again.spec == DataSpec((3, 4, 4), (), (1, 4, 4))
    wide = open_data(str(tmp_path / "packed"), resolution="8x4")
    assert wide.spec == DataSpec((3, 4, 8), (), (1, 4, 8))
    assert torch.equal(wide.examples, as_it_is.examples[:, :, 2:6])


def test_a_source_that_turns_up_late_in_another_form_is_still_made_like_the_others():
    items = some_pairs(200)
    items[101] = Paired(items[101].image, noise(1, 8, 8, 3))  # in color, between two of those that are surveyed
    data = pack(items, "pairs", title="pairs")
    assert data.spec.source_shape == (3, 8, 8)
    assert torch.equal(data.sources.examples[101], items[101].source.permute(2, 0, 1))
    assert torch.equal(data.sources.examples[0], items[0].source.permute(2, 0, 1).expand(3, 8, 8))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (noise(0, 8, 8), "example 3 has no source, others have one (pair all examples or none)"),
        (Paired(noise(0, 8, 8), None), "example 3 is paired with None"),
        (Paired(noise(0, 8, 8), torch.zeros(4)), "example 3 pairs a vector or signal (only images come in pairs)"),
        ((Paired(noise(0, 8, 8), noise(0, 8, 8)), 1), "example 3 is a Paired"),
        (Paired(noise(0, 8, 8), "a picture"), "example 3 is a str"),
    ],
)
def test_whoever_breaks_the_contract_of_pairs_is_named(broken, said):
    items = some_pairs()
    items[3] = broken
    with pytest.raises(PluginError) as caught:
        pack(items, "pairs", title="pairs")
    assert said in str(caught.value)


def test_a_pair_of_which_one_side_cannot_be_read_is_left_out_as_a_whole():
    files = []
    for index in range(20):
        content = io.BytesIO()
        Image.fromarray(noise(index, 8, 8).numpy()).save(content, format="PNG")
        files.append(content.getvalue())
    files[7] = files[7][:80]

    class Files(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, index):
            return Paired(noise(index, 8, 8), Image.open(io.BytesIO(files[index])))

    with pytest.raises(DataError, match="example 7"):
        pack(Files(), "files", title="files")
    data = pack(Files(), "files", title="files", skip_bad=True)
    assert list(data.left_out) == ["example 7"]
    assert len(data) == len(data.sources) == 19
    assert torch.equal(data.examples, data.sources.examples)


def test_pairs_are_found_in_the_cache_again(parts, tmp_path):
    registry = Registry([Plugin("pairs", "pairs", "", "ok", parts={"dataset": {"negatives": parts["Negatives"]}})])
    first, second = (open_data("negatives", registry=registry, cache=tmp_path) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert second.sources.examples.shape == (40, 1, 8, 8)
    assert len(list(tmp_path.iterdir())) == 1


# ---- batches ----


@pytest.mark.parametrize("feeder", [None, PrefetchingFeeder, ResidentFeeder])
@pytest.mark.parametrize("from_file", [False, True])
def test_every_example_of_a_batch_comes_with_its_own_source(tmp_path, monkeypatch, feeder, from_file):
    if from_file:
        monkeypatch.setattr(store, "MAPPED_BYTES", 0)
        packed_pairs(7).save(tmp_path / "packed")
        data = PackedData.load(tmp_path / "packed")
        assert data.file
        assert data.sources.file
    else:
        data = packed_pairs(7)
    if feeder:
        monkeypatch.setattr("ganforge.training.loading.sampler.open_feeder", feeder)
    batches = Batches(data, 3, CPU)
    images, sources = (
        torch.cat(side) for side in zip(*(batches.read(start, 5) for start in range(0, 20, 5)), strict=True)
    )
    chosen = batches.indices(0, 20)
    assert torch.equal(images, to_float(data.examples[chosen]))
    assert torch.equal(sources, to_float(data.sources.examples[chosen]))


def test_labels_cannot_be_few_where_there_are_none():
    with pytest.raises(OptionError, match="has no classes"):
        Batches(packed_pairs(), 0, CPU, num_labels=3)


def test_sources_are_drawn_in_turn_so_that_none_comes_too_often():
    data = packed_pairs(6)
    among = torch.tensor([0, 2, 3, 5])
    drawn = draw_labels(labels_of(data, among), 10, seed=1)
    wanted = to_float(data.sources.examples)
    found = [next(i for i in range(6) if torch.equal(source, wanted[i])) for source in drawn[0:10]]
    assert sorted(found[:4]) == sorted(found[4:8]) == among.tolist()
    assert torch.equal(drawn[3:7], drawn[0:10][3:7])
    assert drawn.digest != draw_labels(labels_of(data, among), 10, seed=2).digest


# ---- networks ----


def test_networks_on_pairs_are_checked_like_any(parts):
    check_generator(parts["Pixelwise"], SPEC)
    check_discriminator(parts["Patches"], SPEC)


def test_a_network_that_knows_nothing_of_sources_trains_on_pairs_all_the_same(place, run):
    code, _, err = run(*TRAIN, "--generator", "mlp", "--discriminator", "mlp", "--images", "8")
    assert code == 0, err


def test_one_that_asks_for_classes_is_refused(place, run):
    said = mistake(*run(*TRAIN, "--generator", "dcgan", "--set", "generator.conditioning=input", "--images", "8"))
    assert "needs labeled data, but these have no classes" in said


def test_augmentations_are_refused_as_they_would_tear_pairs_apart(place, run):
    said = mistake(*run(*TRAIN, "--augment", "flip", "--images", "8"))
    assert "augmentation 'flip' does not support paired data" in said
    assert not list(place.glob("runs/*/checkpoints/*"))


def test_logits_that_belong_to_no_example_are_refused(place, run):
    (place / "odd.py").write_text(
        "import torch\nfrom ganforge import Discriminator, hookimpl\n"
        "class Odd(Discriminator):\n    '''One logit too many.'''\n"
        "    def __init__(self, data):\n        super().__init__()\n"
        "        self.layer = torch.nn.Conv2d(4, 1, 4, stride=4)\n"
        "    def forward(self, images, labels=None):\n"
        "        logits = self.layer(torch.cat([labels, images], dim=1)).flatten()\n"
        "        return torch.cat([logits, logits[:1]])\n"
        "@hookimpl\ndef ganforge_discriminators():\n    return {'odd': Odd}\n"
    )
    said = mistake(*run("--plugin", "odd.py", *TRAIN, "--discriminator", "odd", "--images", "8"))
    assert "returns (17,) for 4 examples, expected logits [N]" in said


@pytest.mark.parametrize("penalty", ["r1", "gp"])
def test_penalties_take_a_discriminator_of_patches(place, run, penalty):
    code, _, err = run(*TRAIN, "--reg", penalty, "--images", "40")
    assert code == 0, err
    rows = [json.loads(line) for line in (place / RUN / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite(rows[-1][f"discriminator/{penalty}"])


# ---- a run ----

TRAIN = ["--plugin", "pairs.py", "train", "--arch", "negative"]


@pytest.fixture
def place(here):
    (here / "pairs.py").write_text(PLUGIN)
    return here


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A place with a run in it."""
    place = tmp_path_factory.mktemp("paired")
    (place / "pairs.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("GANFORGE_CACHE", str(place / "cache"))
        with pytest.raises(SystemExit) as stop:
            ganforge_main([*TRAIN, "--images", "1600", "--set", "training.holdout=0.25"])
        assert not stop.value.code
    return place


def ganforge_main(arguments):
    from ganforge.cli import main

    main(arguments)


@pytest.fixture
def there(trained, monkeypatch):
    monkeypatch.chdir(trained)
    monkeypatch.setenv("GANFORGE_CACHE", str(trained / "cache"))
    return trained


RUN = "runs/00000-negative-nonsat-negatives"


def mistake(code, out, err):
    """The one line of a mistake."""
    assert code == 2, err
    assert "Traceback" not in err
    return " ".join(err.split())


@pytest.fixture(scope="module")
def registry(parts):
    found = {"generator": {"pixelwise": parts["Pixelwise"]}, "dataset": {"negatives": parts["Negatives"]}}
    return Registry([Plugin("pairs", "pairs", "", "ok", parts=found)])


def test_a_generator_learns_what_is_to_be_made_of_its_source(there, registry):
    generator, card = load_generator(there / RUN / "generator.safetensors", registry)
    assert card["data"]["source_shape"] == [1, 8, 8]
    data = open_data("negatives", registry=registry)
    unseen = is_held_out(len(data), 0.25).nonzero()[:, 0]
    made = ganforge.generate(generator, len(unseen), labels=labels_of(data, unseen))
    wrong = ganforge.generate(generator, len(unseen), labels=labels_of(data, unseen.roll(1)))
    wanted = to_float(data.examples[unseen])
    assert (made - wanted).abs().mean() < 0.1 < 0.3 < (wrong - wanted).abs().mean()


def test_a_grid_shows_source_result_and_what_was_wanted_of_pairs_held_out(there, registry):
    data = open_data("negatives", registry=registry)
    unseen = is_held_out(len(data), 0.25).nonzero()[:, 0]
    generator, _ = load_generator(there / RUN / "generator.safetensors", registry)
    picture = torch.from_numpy(np.array(Image.open(there / RUN / "samples" / "000001600.png"))).permute(2, 0, 1)
    first, last = int(unseen[0]), int(unseen[-1])
    assert torch.equal(picture[:, :8, :8], data.sources.examples[first].expand(3, 8, 8))
    made = to_uint8(ganforge.generate(generator, 1, labels=labels_of(data, unseen[:1])))[0]
    assert (picture[:, :8, 8:16].int() - made.int()).abs().max() <= 1
    assert torch.equal(picture[:, :8, 16:24], data.examples[first])
    assert torch.equal(picture[:, -8:, -8:], data.examples[last])
    assert read_mark((there / RUN / "samples" / "000001600.png").read_bytes())["source"] == MIXED


def test_sides_of_other_sizes_and_channels_are_shown_in_one_picture():
    sources, targets = noise(0, 4, 4, 1).permute(2, 0, 1)[None], noise(1, 8, 8).permute(2, 0, 1)[None]
    picture = paint_translations(sources, torch.ones(1, 3, 8, 8), targets)
    assert picture.shape == (3, 8, 24)
    assert torch.equal(picture[:, ::2, 0:8:2], sources[0].expand(3, 4, 4))
    assert (picture[:, :, 8:16] == 255).all()


def test_a_run_that_was_stopped_ends_with_the_same_bytes(place, run):
    code, _, err = run(*TRAIN, "--images", "80")
    assert code == 0
    assert "next:       ganforge sample runs/00000-negative-nonsat-negatives --source FOLDER" in err
    assert run(*TRAIN, "--images", "40")[0] == 0
    code, _, err = run("--plugin", "pairs.py", "train", "--resume", "1", "--images", "80")
    assert code == 0, err
    whole, parts = (place / f"runs/0000{n}-negative-nonsat-negatives" for n in range(2))
    assert (whole / "generator.safetensors").read_bytes() == (parts / "generator.safetensors").read_bytes()
    assert (whole / "samples/000000080.png").read_bytes() == (parts / "samples/000000080.png").read_bytes()
    assert not (whole / "samples/real.png").exists()  # the grids hold the targets


def test_a_batch_in_parts_trains_on_pairs(place, run):
    code, _, err = run(*TRAIN, "--images", "16", "--accumulate", "2")
    assert code == 0, err


# ---- pictures of the user's ----


def test_pictures_are_translated_one_by_one_and_keep_their_names(there, tmp_path, run, registry):
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    shades = noise(5, 8, 8, 1)[:, :, 0].numpy()
    Image.fromarray(shades).save(tmp_path / "mine" / "b.png")
    Image.fromarray(np.repeat(noise(6, 8, 8, 1).numpy(), 3, axis=2)).save(tmp_path / "mine" / "deep" / "a.bmp")
    Image.fromarray(noise(7, 20, 40).numpy()).save(tmp_path / "mine" / "wide.jpg")
    code, out, err = run(
        "--plugin", "pairs.py", "sample", RUN, "--source", tmp_path / "mine", "--to", tmp_path / "made"
    )
    assert code == 0, err
    assert out.strip() == str(tmp_path / "made")
    made = sorted(str(path.relative_to(tmp_path / "made")) for path in (tmp_path / "made").rglob("*.*"))
    assert made == ["b.png", "deep/a.png", "wide.png"]
    marks = [read_mark((tmp_path / "made" / name).read_bytes()) for name in made]
    assert {each["source"] for each in marks} == {MIXED}
    generator, _ = load_generator(there / RUN / "generator.safetensors", registry)
    source = to_float(torch.from_numpy(shades))[None, None]
    wanted = to_uint8(ganforge.generate(generator, 1, labels=source))[0].permute(1, 2, 0)
    found = torch.from_numpy(np.array(Image.open(tmp_path / "made" / "b.png")))
    assert (found.int() - wanted.int()).abs().max() <= 1
    with Image.open(tmp_path / "made" / "wide.png") as wide:
        assert wide.size == (8, 8)


def test_a_single_picture_is_translated_and_its_neighbours_are_left_alone(there, tmp_path, run):
    for name in ("one.png", "two.png"):
        Image.fromarray(noise(5, 8, 8).numpy()).save(tmp_path / name)
    code, _, err = run(
        "--plugin", "pairs.py", "sample", RUN, "--source", tmp_path / "one.png", "--to", tmp_path / "made"
    )
    assert code == 0, err
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["one.png"]


def test_what_cannot_be_translated_is_told_in_one_line(there, tmp_path, run):
    for name in ("same.png", "same.bmp"):
        Image.fromarray(noise(5, 8, 8).numpy()).save(tmp_path / name)
    (tmp_path / "other").mkdir()
    np.save(tmp_path / "other" / "x.npy", np.zeros((2, 8, 8), np.uint8))
    packed_pairs().save(tmp_path / "packed")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    asked = ["--plugin", "pairs.py", "sample", RUN, "--to", tmp_path / "made"]
    (tmp_path / "clash").mkdir()
    for name in ("same.png", "same.bmp"):
        (tmp_path / name).rename(tmp_path / "clash" / name)
    for arguments, said in (
        ([], "translates source images - add --source"),
        (["--source", tmp_path / "clash"], "same.bmp and same.png would both become same.png"),
        (["--source", tmp_path / "nowhere"], "no such file or folder"),
        (["--source", tmp_path / "other"], "holds no images"),
        (["--source", tmp_path / "packed"], "holds no picture files"),
        (["--source", tmp_path / "broken.png"], "broken.png"),
        (["--source", tmp_path / "clash" / "same.png", "--truncation", "0.5"], "cannot be truncated"),
    ):
        assert said in mistake(*run(*asked, *arguments))
    assert not (tmp_path / "made").exists()


def test_a_generator_of_latents_alone_takes_no_source(here, run, image_folder):
    settings = [
        "--set",
        "generator.hidden=4",
        "--set",
        "discriminator.hidden=4",
        "--device",
        "cpu",
        "--engine",
        "eager",
    ]
    plain = ["train", "--arch", "mlp", "--data", image_folder, "--images", "64"]
    assert run(*plain, *settings)[0] == 0
    assert "this generator takes no source images" in mistake(*run("sample", "--source", image_folder))


def test_sources_that_no_picture_file_holds_are_refused(tmp_path):
    Image.fromarray(noise(5, 8, 8).numpy()).save(tmp_path / "one.png")
    for shape in ((4, 8, 8), (3,)):
        with pytest.raises(OptionError, match="with 1 or 3 channels"):
            SourceFiles(tmp_path, shape)


# ---- exported, evaluated, explored ----


def test_an_exported_file_takes_sources_in_place_of_labels(there, run, registry, tmp_path):
    code, _, err = run("--plugin", "pairs.py", "export", RUN, "--torchscript", "--to", tmp_path / "generator.pt")
    assert code == 0, err
    texts = {"ganforge.json": "", "summary.txt": ""}
    network = torch.jit.load(str(tmp_path / "generator.pt"), _extra_files=texts)
    described = json.loads(texts["ganforge.json"])
    assert described["inputs"]["labels"]["shape"] == ["N", 1, 8, 8]
    assert b"source: 1x8x8 images" in texts["summary.txt"]
    generator, _ = load_generator(there / RUN / "generator.safetensors", registry)
    sources = to_float(noise(1, 8, 8, 5).permute(2, 0, 1))[:, None]
    wanted = ganforge.generate(generator, 5, labels=sources)
    assert torch.allclose(network(torch.randn(5, 1), sources), wanted, atol=1e-5)
    assert torch.allclose(network.sample(5, 0, sources), wanted, atol=1e-5)
    with pytest.raises(torch.jit.Error, match="translates source images"):
        network.sample(5, 0)
    with pytest.raises(torch.jit.Error, match="labels must be 5 images"):
        network.sample(5, 0, sources[:4])


def test_files_of_fewer_bits_take_sources_of_float32(parts):
    check_export(parts["Pixelwise"], TorchScriptExporter(precision="bfloat16"), SPEC)


@pytest.mark.slow
def test_an_onnx_file_takes_sources_too(parts):
    check_export(parts["Pixelwise"], OnnxExporter(), SPEC)


@pytest.fixture
def extractor(there, tmp_path):
    torch.manual_seed(0)
    torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(192, 4))).save(str(tmp_path / "plain.pt"))
    return tmp_path / "plain.pt"


def evaluate(run, subject, extractor, *more):
    flags = ["--kid", "--extractor", extractor, "--samples", "20", "--json"]
    code, out, err = run("--plugin", "pairs.py", "eval", subject, *flags, *more)
    assert code == 0, err
    return {row["metric"]: row["value"] for row in json.loads(out)}


def test_a_run_is_scored_by_what_it_makes_of_the_sources_of_its_data(there, run, extractor, registry):
    (found,) = evaluate(run, RUN, extractor, "--split", "held-out").values()
    assert run("--plugin", "pairs.py", "export", RUN, "--torchscript")[0] == 0
    (exported,) = evaluate(run, f"{RUN}/export/generator.pt", extractor, "--split", "held-out").values()
    assert exported == pytest.approx(found, rel=1e-3, abs=1e-4)
    (others,) = evaluate(run, RUN, extractor, "--split", "train").values()
    assert others != found


def test_scores_while_a_run_trains_are_of_what_is_made_of_sources(parts, registry):
    told = []

    class Repeating(Generator):
        z_dim = 1

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
            told.append(labels)
            return self.scale * labels

    data = packed_pairs(30, source_size=8, channels=3)
    seen = torch.arange(5, 25)
    score = FeatureScore(
        name="d",
        metric=METRICS["fid"](),
        extract=lambda images: (images.flatten(1)[:, :4].float(), None),
        reals=torch.randn(9, 4),
    )
    scorer = FeatureScorer([score], samples=40, seed=3, labels=labels_of(data, seen))
    assert np.isfinite(scorer(Repeating())["d"])
    shown = to_uint8(torch.cat(told)).flatten(1).int().sum(1).sort().values
    wanted = data.sources.examples[seen].flatten(1).int().sum(1).repeat(2).sort().values
    assert torch.equal(shown, wanted)


def test_it_is_not_compared_with_data_that_bring_no_sources(there, run, extractor, tmp_path):
    (tmp_path / "photos").mkdir()
    for index in range(6):
        Image.fromarray(noise(index, 8, 8).numpy()).save(tmp_path / "photos" / f"{index}.png")
    flags = ["--kid", "--extractor", extractor, "--samples", "20", "--data", tmp_path / "photos", "--split", "all"]
    said = mistake(*run("--plugin", "pairs.py", "eval", RUN, *flags))
    assert "takes source images of 8x8 with 1 channel, photos has none" in said


@pytest.mark.parametrize(
    "command",
    [
        ["explore", "walk", RUN],
        ["explore", "directions", RUN],
        ["eval", RUN, "--ppl"],
        ["export", RUN, "--cpp-project", "project"],
        ["export", RUN, "--web", "page"],
    ],
)
def test_what_starts_from_latents_alone_is_refused(there, run, command):
    assert "this generator requires source images" in mistake(*run("--plugin", "pairs.py", *command))
    assert not (there / "project").exists()
    assert not (there / "page").exists()


def test_a_library_s_run_says_so_too_and_a_notebook_shows_no_picture(there, registry):
    with pytest.raises(OptionError, match="requires source images, which Run.sample does not support"):
        Run(there / RUN, registry).sample()
    shown = ganforge.load(there / RUN, registry)._repr_html_()
    assert "Pixelwise: 1 x 8 x 8 to 3 x 8 x 8" in shown
    assert "<img" not in shown


def test_a_report_shows_the_grids_alone(there, run, tmp_path):
    code, _, err = run("--plugin", "pairs.py", "report", RUN, "--to", tmp_path / "report.html")
    assert code == 0, err
    page = (tmp_path / "report.html").read_text()
    assert "after 1,600 images" in page
    assert "cannot be sampled" not in page


def test_what_differs_from_the_data_of_a_run_is_told_of_sources_too():
    data = packed_pairs(source_size=4)
    recorded = {"num_examples": 6, "shape": [3, 8, 8], "class_names": [], "fingerprint": "0" * 64}
    assert "sources [1, 4, 4] instead of []" in describe_difference(recorded, data)
    assert "sources" not in describe_difference({**recorded, "source_shape": [1, 4, 4]}, data)


def test_packed_pairs_are_looked_at(here, run):
    packed_pairs().save(here / "packed")
    code, out, err = run("data", "check", "packed")
    assert code == 0, err
    assert "in pairs" in out
    code, out, err = run("data", "pack", "packed", "small", "--resolution", "4")
    assert code == 0, err
    assert "6 examples [3, 4, 4] with sources [1, 4, 4]" in " ".join(out.split())


def test_noise_to_time_a_recipe_on_comes_in_pairs_too():
    data = draw_noise(DataSpec((3, 8, 8), (), (1, 4, 4)), 4)
    assert data.spec == DataSpec((3, 8, 8), (), (1, 4, 4))
    assert len(data) == len(data.sources)


def test_public_names_suffice(parts):
    assert issubclass(parts["Negatives"], Dataset)
    assert issubclass(parts["Pixelwise"], Generator)
    assert issubclass(parts["Patches"], Discriminator)
    assert issubclass(parts["Near"], Regularizer)
