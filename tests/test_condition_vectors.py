"""Condition vectors: from files to packed data, networks, training, samples and exported files."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge import (
    DataError,
    DataSpec,
    Number,
    OptionError,
    Pair,
    PluginError,
    Step,
    generate,
    join_labels,
    load,
    open_run,
    train,
)
from ganforge.builtin.avatars import PALETTES, Avatars
from ganforge.builtin.conditional import AuxiliaryClassifier
from ganforge.cli import main
from ganforge.core.images import to_uint8
from ganforge.data import PackedData, open_data
from ganforge.data.check import check_data
from ganforge.data.difference import describe_difference
from ganforge.data.labels import LabelTable
from ganforge.evaluation.metrics.condition_vectors import compare_vectors
from ganforge.evaluation.regressor import cached_regressor
from ganforge.explore import open_space
from ganforge.layers.conditioning import StandardizeLabels, embed_labels
from ganforge.plugins.registry import Registry
from ganforge.sampling import default_labels
from ganforge.session.conditions import choose_conditions
from ganforge.testing import check_generator

REGISTRY = Registry.installed()
NUMBERS = (Number("smile", 0.5, 0.5, (0.0, 1.0)), Number("age", 40.0, 10.0, (20.0, 60.0)))
IMAGES = DataSpec((3, 8, 8), numbers=NUMBERS)
SMALL = {
    "mlp": {"hidden": (8, 8)},
    **{name: {"width": 4, "max_width": 8} for name in ("dcgan", "pggan", "stylegan", "stylegan2")},
}


def make_pictures(folder, count=24, table=None, size=16):
    folder.mkdir()
    rows = ["file_name,smile,age"]
    for index in range(count):
        shade = np.full((size, size, 3), 10 * index % 256, np.uint8)
        Image.fromarray(shade).save(folder / f"{index:03}.png")
        rows.append(f"{index:03}.png,{index % 2},{20 + index}")
    (folder / "metadata.csv").write_text("\n".join(rows) if table is None else table)
    return folder


@pytest.fixture
def pictures(tmp_path):
    return make_pictures(tmp_path / "pictures")


# Data.


def test_a_table_beside_pictures_gives_vectors(pictures, tmp_path):
    data = open_data(str(pictures), cache=tmp_path / "cache")
    assert data.number_names == ("smile", "age")
    assert data.labels.dtype == torch.float32
    assert data.labels.tolist() == [[index % 2, 20 + index] for index in range(24)]
    assert [each.name for each in data.spec.numbers] == ["smile", "age"]
    assert data.spec.numbers[1].mean == 31.5
    assert data.spec.numbers[1].std == pytest.approx(np.std(np.arange(24)), rel=1e-5)
    assert data.spec.is_conditional
    assert not data.spec.num_classes


def test_packed_vectors_are_loaded_and_count_in_the_fingerprint(pictures, tmp_path):
    data = open_data(str(pictures), cache=tmp_path / "cache")
    data.save(tmp_path / "packed")
    loaded = PackedData.load(tmp_path / "packed")
    assert torch.equal(loaded.labels, data.labels)
    assert loaded.spec == data.spec
    assert loaded.is_intact()
    labels = np.load(tmp_path / "packed" / "labels.npy")
    labels[3, 1] += 1
    np.save(tmp_path / "packed" / "labels.npy", labels)
    assert not PackedData.load(tmp_path / "packed").is_intact()
    resized = open_data(str(tmp_path / "packed"), resolution=8, cache=tmp_path / "cache")
    assert resized.number_names == data.number_names


def test_a_changed_table_is_packed_again(pictures, tmp_path):
    before = open_data(str(pictures), cache=tmp_path / "cache")
    text = (pictures / "metadata.csv").read_text()
    (pictures / "metadata.csv").write_text(text.replace("000.png,0,20", "000.png,0,20.5"))
    after = open_data(str(pictures), cache=tmp_path / "cache")
    assert after.labels[0, 1] == 20.5
    assert after.fingerprint != before.fingerprint
    (pictures / "metadata.csv").write_text(text.replace("smile", "frown"))
    renamed = open_data(str(pictures), cache=tmp_path / "cache")
    assert renamed.fingerprint != before.fingerprint


def test_columns_of_text_are_ignored_and_told(pictures, tmp_path):
    text = (pictures / "metadata.csv").read_text().splitlines()
    rows = [text[0] + ",caption,happy"] + [f'{row},"a, b",{"True" if row[4:] else "False"}' for row in text[1:]]
    (pictures / "metadata.csv").write_text("\n".join(rows))
    data = open_data(str(pictures), cache=tmp_path / "cache")
    assert data.number_names == ("smile", "age", "happy")
    assert "'caption'" in data.note


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file_name,a\n000.png,1", "no row for '001.png'"),
        ("file_name,a\n000.png,1\n001.png,", "column 'a' has no finite number for '001.png'"),
        ("file_name,a\n000.png,1\n001.png,inf", "column 'a' has no finite number for '001.png'"),
        ("file_name,a\n000.png,1\n001.png,1e99", "column 'a' has no finite number"),
        ("file_name,a\n000.png,1\n001.png,2\n001.png,3", "'001.png' has two rows"),
        ("file_name,a\n000.png,1\n001.png,2,3", "row 3: 3 columns, the header has 2"),
        ("file_name,a,a\n000.png,1,1\n001.png,2,3", "two columns are named 'a'"),
        ('file_name,a\n"000.png,1', "invalid CSV"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, table, message):
    make_pictures(tmp_path / "two", 2, table)
    with pytest.raises(DataError, match=message):
        open_data(str(tmp_path / "two"), cache=tmp_path / "cache")


@pytest.mark.parametrize("table", ["name,a\n000.png,1\n", "file_name,text\n000.png,x\n001.png,y\n", ""])
def test_a_table_without_numbers_leaves_pictures_unlabeled(tmp_path, table):
    make_pictures(tmp_path / "two", 2, table)
    data = open_data(str(tmp_path / "two"), cache=tmp_path / "cache")
    assert data.labels is None
    assert "metadata.csv" in data.note


def write_parquet(path, **columns):
    arrow = pytest.importorskip("pyarrow", reason='needs pip install "ganforge[parquet]"')
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table(columns), path)


def test_a_parquet_table_gives_the_vectors_of_a_csv(pictures, tmp_path):
    expected = open_data(str(pictures), cache=tmp_path / "cache")
    (pictures / "metadata.csv").unlink()
    write_parquet(
        pictures / "metadata.parquet",
        file_name=[f"{index:03}.png" for index in reversed(range(24))],
        smile=[bool(index % 2) for index in reversed(range(24))],
        age=[20.0 + index for index in reversed(range(24))],
        caption=["a face"] * 24,
    )
    data = open_data(str(pictures), cache=tmp_path / "cache")
    assert data.fingerprint == expected.fingerprint
    assert "'caption'" in data.note


def test_a_column_of_lists_in_parquet_is_several_numbers(tmp_path):
    folder = make_pictures(tmp_path / "two", 2)
    (folder / "metadata.csv").unlink()
    rows = {"file_name": ["000.png", "001.png"], "embedding": [[0.5, 1.0, -2.0], [3.0, 4.0, 5.0]]}
    write_parquet(folder / "metadata.parquet", **rows)
    data = open_data(str(folder), cache=tmp_path / "cache")
    assert data.number_names == ("embedding.0", "embedding.1", "embedding.2")
    assert data.labels.tolist() == rows["embedding"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0]}, "no row for '001.png'"),
        ({"a": [1.0, None]}, "column 'a' has no finite number for '001.png'"),
        ({"a": [[1.0, 2.0], [3.0]]}, "row 3: 2 columns, the header has 3"),
        (None, "invalid Parquet"),
    ],
)
def test_a_wrong_parquet_table_is_refused(tmp_path, columns, message):
    folder = make_pictures(tmp_path / "two", 2)
    (folder / "metadata.csv").unlink()
    if columns is None:
        pytest.importorskip("pyarrow")
        (folder / "metadata.parquet").write_bytes(b"PAR1 a table PAR1")
    else:
        names = ["000.png", "001.png"][: len(columns["a"])]
        write_parquet(folder / "metadata.parquet", file_name=names, **columns)
    with pytest.raises(DataError, match=message):
        open_data(str(folder), cache=tmp_path / "cache")


def test_dataset_json_may_hold_vectors(tmp_path):
    folder = make_pictures(tmp_path / "two", 2)
    (folder / "dataset.json").write_text(json.dumps({"labels": [["000.png", [0.5, 1]], ["001.png", [2, 3.5]]]}))
    data = open_data(str(folder), cache=tmp_path / "cache")
    assert data.number_names == ("0", "1")
    assert data.labels.tolist() == [[0.5, 1.0], [2.0, 3.5]]
    (folder / "dataset.json").write_text(json.dumps({"labels": [["000.png", [0.5, 1]], ["001.png", [2]]]}))
    with pytest.raises(DataError, match=r"label of '001.png' is no list of 2 numbers"):
        open_data(str(folder), cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([[1, 2], [3, 4], [5, 6]], np.float64), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        (np.array([0.5, 1, 2], np.float32), [[0.5], [1.0], [2.0]]),
        (np.array([2, 0, 1]), [2, 0, 1]),
    ],
)
def test_an_array_takes_labels_beside_it(tmp_path, labels, expected):
    np.save(tmp_path / "a.npy", np.zeros((3, 4), np.float32))
    np.save(tmp_path / "a.labels.npy", labels)
    data = open_data(str(tmp_path / "a.npy"), cache=tmp_path / "cache")
    assert data.labels.tolist() == expected
    np.save(tmp_path / "a.labels.npy", labels[:2])
    with pytest.raises(DataError, match="no labels of 3 examples"):
        open_data(str(tmp_path / "a.npy"), cache=tmp_path / "cache")


class Items(list):
    number_names = ()


@pytest.mark.parametrize("vector", [np.array([1.0, 2.0]), torch.tensor([True, False]), [1, 2.5], (0, 1)])
def test_items_of_a_data_set_may_hold_vectors(vector):
    items = Items([(np.zeros((8, 8), np.uint8), vector)] * 3)
    table = open_items(items)
    assert table.labels.tolist() == [[float(each) for each in vector]] * 3
    items.number_names = ("a", "b")
    assert open_items(items).number_names == ("a", "b")
    items.number_names = ("a",)
    with pytest.raises(PluginError, match="has 2 numbers"):
        open_items(items)


def call(*arguments):
    with pytest.raises(SystemExit) as done:
        main([str(each) for each in arguments])
    return done.value.code


def open_items(items):
    from ganforge.plugins.loading import Plugin

    registry = Registry([Plugin("here", "this test", "", "ok", parts={"dataset": {"given": lambda: items}})])
    return open_data("given", registry=registry)


def test_vectors_must_fit_together():
    with pytest.raises(PluginError, match="example 1 has 1 numbers"):
        LabelTable.of([np.zeros(2, np.float32), np.zeros(1, np.float32)], "x")
    with pytest.raises(PluginError, match="example 1 has a class"):
        LabelTable.of([np.zeros(2, np.float32), 1], "x")
    with pytest.raises(PluginError, match="example 1 has no label"):
        LabelTable.of([np.zeros(2, np.float32), None], "x")


def test_check_describes_numbers(pictures, capsys):
    report = check_data(pictures)
    assert report.numbers == {"smile": [0.0, 0.5, 1.0], "age": [20.0, 31.5, 43.0]}
    assert "condition vectors of 2 numbers" in report.training
    assert call("data", "check", pictures) == 0
    shown = capsys.readouterr().out
    assert "age: 20 to 43, mean 31.5" in shown
    assert "--arch cdcgan" in shown


def test_a_difference_in_numbers_is_named(pictures, tmp_path):
    data = open_data(str(pictures), cache=tmp_path / "cache")
    assert "2 numbers in condition vectors instead of 1" in describe_difference(
        {"fingerprint": "0", "numbers": [{"name": "smile"}]}, data
    )


# Layers and networks.


def test_vectors_are_standardized_and_joined():
    labels = StandardizeLabels(IMAGES)(torch.tensor([[1.0, 50.0], [0.0, 40.0]]))
    assert labels.tolist() == [[1.0, 1.0], [-1.0, 0.0]]
    joined = join_labels(torch.zeros(2, 3), labels, 2, strength=4.0)
    assert joined[0, 3:].norm() == pytest.approx(4.0)  # the norm of a hot entry
    assert join_labels(torch.zeros(2, 3, 4, 4), labels, 2)[1, 3:].tolist() == [
        [[-1.0] * 4] * 4,
        [[0.0] * 4] * 4,
    ]
    classes = torch.tensor([1, 0])
    assert StandardizeLabels(DataSpec((2,), ("a", "b")))(classes) is classes


def test_embeddings_of_vectors_have_numbers_of_size_one():
    torch.manual_seed(0)
    embedding = embed_labels(IMAGES, 512)
    vectors = torch.tensor([0.5, 40.0]) + torch.randn(256, 2) * torch.tensor([0.5, 10.0])
    assert embedding(vectors).std().item() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("name", SMALL)
def test_networks_take_vectors(name):
    def build(data):
        return REGISTRY.build("generator", name, {**SMALL[name], "conditioning": "input"}, data)

    generator = build(IMAGES)
    if name in ("mlp", "dcgan", "stylegan"):
        check_generator(build, IMAGES)
    z = torch.randn(2, generator.z_dim)
    generator.eval()
    different = generator(z, torch.tensor([[0.0, 20.0], [1.0, 60.0]])), generator(z, torch.full((2, 2), 30.0))
    assert not torch.equal(*different)
    for way in ("input", "projection"):
        network = REGISTRY.build("discriminator", name, {**SMALL[name], "conditioning": way}, IMAGES)
        images = torch.rand(2, 3, 8, 8)
        logits = [network.eval()(images, torch.tensor([[0.0, age], [1.0, age]])) for age in (20.0, 60.0)]
        assert not torch.equal(*logits)
    assert not any("standardize" in key for key in generator.state_dict())


def test_methods_of_classes_refuse_vectors():
    for kind, name, way in (("generator", "dcgan", "norm"), ("discriminator", "mlp", "joint")):
        with pytest.raises(OptionError, match=f"conditioning={way} needs classes"):
            REGISTRY.build(kind, name, {**SMALL[name], "conditioning": way}, IMAGES)


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_an_auxiliary_loss_of_vectors_is_a_squared_error(name):
    network = REGISTRY.build("discriminator", name, {**SMALL[name], "conditioning": "auxiliary"}, IMAGES).eval()
    features = network.features(torch.rand(2, 3, 8, 8))
    labels = torch.tensor([[1.0, 50.0], [0.0, 40.0]])
    wanted = torch.tensor([[1.0, 1.0], [-1.0, 0.0]])
    loss = network.label_loss(features, labels)
    assert loss.item() == pytest.approx((network.classify(features) - wanted).square().sum(1).mean().item())


def test_the_discriminator_learns_vectors_from_real_examples_only():
    network = REGISTRY.build("discriminator", "mlp", {**SMALL["mlp"], "conditioning": "auxiliary"}, IMAGES).eval()
    generator = REGISTRY.build("generator", "mlp", {**SMALL["mlp"], "conditioning": "input"}, IMAGES)
    labels, real = torch.tensor([[1.0, 50.0], [0.0, 40.0]]), torch.rand(2, 3, 8, 8)
    steps = [
        Step(generator, network, images=Pair(real, fake), latents=torch.zeros(2, 100), labels=labels)
        for fake in (torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8))
    ]
    losses = [AuxiliaryClassifier().discriminator(step).item() for step in steps]
    assert losses[0] == losses[1] == pytest.approx(network.label_loss(network.features(real), labels).item())
    assert AuxiliaryClassifier().generator(steps[0]) != AuxiliaryClassifier().generator(steps[1])


# Conditions of samples.


def test_conditions_are_read_by_name(capsys, tmp_path):
    assert choose_conditions(["smile=1,age=30"], IMAGES, 2).tolist() == [[1.0, 30.0]] * 2
    assert choose_conditions(["smile=1,age=30", "1=50,0=0"], IMAGES, 3).tolist() == [[1, 30], [0, 50], [1, 30]]
    assert not capsys.readouterr().err
    assert choose_conditions(["smile=1"], IMAGES, 1).tolist() == [[1.0, 40.0]]
    assert "age=40" in capsys.readouterr().err
    assert choose_conditions([], IMAGES, 3).tolist() == [[0, 20], [1, 60], [0, 20]]
    np.save(tmp_path / "v.npy", np.array([[1, 2], [3, 4]]))
    assert choose_conditions([str(tmp_path / "v.npy")], IMAGES, 2).tolist() == [[1, 2], [3, 4]]
    assert choose_conditions(["dog"], DataSpec((2,), ("cat", "dog")), 2).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smil=1", "'smil' not found.*smile"),
        ("smile", "is no NAME=VALUE"),
        ("smile=yes", "'yes' is no number"),
        ("age=inf", "not finite"),
        ("none.npy", r"none\.npy"),
    ],
)
def test_a_wrong_condition_is_refused(text, message):
    with pytest.raises(OptionError) as error:
        choose_conditions([text], IMAGES, 1)
    assert re.search(message, f"{error.value.message} {error.value.hint}")


def test_defaults_survive_uneven_examples():
    spec = DataSpec((2,), numbers=(Number("a", 1.0), Number("b", 0.0, 1.0, (3.0, 4.0))))
    assert default_labels(2, spec).tolist() == [[1.0, 3.0]] * 2


# A run.


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pictures = make_pictures(folder / "pictures", size=8)
    settings = {
        "training.batch": 8,
        "generator.hidden": (16,),
        "discriminator.hidden": (16,),
        "training.tick_images": 16,
        "training.ema_images": 10,
    }
    return train(
        arch="cgan", data=str(pictures), images=32, settings=settings, device="cpu", out=folder / "runs", quiet=True
    )


def test_a_run_is_resumed_to_the_same_bytes(run, tmp_path):
    pictures = run.config["data"]["source"]
    settings = {"training.batch": 8, "generator.hidden": (16,), "discriminator.hidden": (16,)}
    settings |= {"training.tick_images": 16, "training.ema_images": 10}
    begun = train(arch="cgan", data=pictures, images=16, settings=settings, device="cpu", out=tmp_path, quiet=True)
    resumed = begun.resume(images=32, quiet=True)
    ours, theirs = load(resumed).state_dict(), load(run).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_microbatches_keep_vectors_with_their_examples(run, tmp_path):
    settings = {"training.batch": 8, "generator.hidden": (16,), "discriminator.hidden": (16,)}
    settings |= {"discriminator.dropout": 0.0, "training.samples": 1}
    given = {"arch": "cgan", "data": run.config["data"]["source"], "images": 16, "device": "cpu", "quiet": True}
    whole = train(settings=settings, out=tmp_path / "a", **given)
    halves = train(settings={**settings, "training.accumulate": 2}, out=tmp_path / "b", **given)
    ours, theirs = load(whole).state_dict(), load(halves).state_dict()
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-5) for key in ours)


def test_samples_follow_the_condition(run, tmp_path):
    generator = load(run)
    labels = torch.tensor([[1.0, 30.0], [0.0, 40.0]])
    images = generate(generator, 2, labels=labels)
    assert not torch.equal(images, generate(generator, 2, labels=labels.flip(0)))
    args = ["sample", str(run.path), "--count", "2", "--condition", "smile=1,age=30", "--condition", "smile=0,age=40"]
    assert call(*args, "--to", tmp_path / "a.png") == 0
    expected = run.sample(2).size
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == expected


def test_class_is_refused_for_vectors(run, capsys):
    assert call("sample", str(run.path), "--class", "1") == 2
    assert "--condition smile=1" in capsys.readouterr().err
    assert call("explore", "walk", str(run.path), "--class", "1") == 2
    assert "--condition smile=1" in capsys.readouterr().err


def test_exploring_keeps_the_condition(run, tmp_path):
    def explore(name, *arguments):
        picture = tmp_path / f"{name}.gif"
        assert call("explore", "walk", run.path, "--steps", 1, *arguments, "--to", picture) == 0
        return picture.read_bytes(), json.loads(picture.with_suffix(".json").read_text())

    young, record = explore("young", "--condition", "smile=1,age=20")
    assert record["condition"] == {"smile": 1.0, "age": 20.0}
    assert young != explore("old", "--condition", "smile=1,age=43")[0]
    first = default_labels(1, open_data(run.config["data"]["source"]).spec)[0].tolist()
    usual, record = explore("usual")
    assert list(record["condition"].values()) == first
    assert usual == explore("first", "--condition", f"smile={first[0]},age={first[1]}")[0] != young


def test_a_latent_space_draws_with_its_vector(run):
    label = torch.tensor([1.0, 20.0])
    space = open_space(load(run), label=label)
    expected = generate(load(run), 3, labels=label.expand(3, -1))
    assert torch.equal(space.render(space.from_seeds([0, 1, 2])), to_uint8(expected))


def test_a_report_shows_explorations_of_vectors(tmp_path):
    pictures = make_pictures(tmp_path / "pictures", size=8)
    settings = {"generator.conditioning": "input", "generator.mapping_layers": 1, "generator.width": 4}
    settings |= {"discriminator.width": 4, "training.batch": 4}
    given = {"arch": "stylegan2", "data": str(pictures), "images": 4, "settings": settings, "device": "cpu"}
    made = train(**given, out=tmp_path / "runs", quiet=True)
    assert call("report", made.path) == 0
    (page,) = made.path.glob("*.html")
    assert "Truncation with one condition vector" in page.read_text()


def test_an_exported_file_takes_vectors(run, tmp_path):
    assert call("export", str(run.path), "--torchscript", "--to", str(tmp_path)) == 0
    texts = {"ganforge.json": "", "summary.txt": ""}
    network = torch.jit.load(str(tmp_path / "generator.pt"), _extra_files=texts)
    labels = torch.tensor([[1.0, 30.0], [0.0, 40.0]])
    expected = generate(load(run), 2, seed=5, labels=labels)
    assert torch.allclose(network.sample(2, 5, labels), expected, atol=1e-6)
    about = json.loads(texts["ganforge.json"])["inputs"]["labels"]
    assert (about["names"], about["shape"]) == (["smile", "age"], ["N", 2])
    spec_default = default_labels(3, open_data(run.config["data"]["source"]).spec)
    assert torch.allclose(network.sample(3, 5), generate(load(run), 3, seed=5, labels=spec_default), atol=1e-6)


def test_a_run_is_opened_by_its_card(run):
    assert open_run(run.path).sample(4).size


# Evaluation.


def test_avatars_give_their_attributes_as_a_vector():
    plain, vectors = Avatars(count=64, resolution=8), Avatars(count=64, resolution=8, labels="vector")
    assert vectors.number_names[:3] == ("smile", "hat", "glasses")
    assert not vectors.class_names
    known = Avatars.attributes(torch.arange(64))
    for index, ((image, label), (same, vector)) in enumerate(zip(plain, vectors, strict=True)):
        assert torch.equal(image, same)
        assert label == int(vector[0] + 2 * vector[1] + 4 * vector[2])
        assert torch.equal(vector[6:] * 255, PALETTES["hair_colour"][known["hair_colour"][index]])
    assert plain.cache_key() != vectors.cache_key()
    assert plain.class_names == Avatars.class_names


def test_vectors_are_compared_by_attribute_and_number():
    asked = torch.tensor([[1.0, 10.0], [0.0, 20.0], [1.0, 30.0], [0.0, 40.0]])
    read = torch.tensor([[0.9, 12.0], [0.6, 20.0], [0.2, 30.0], [0.1, 42.0]])
    found = compare_vectors(asked, read, ["smile", "age"], [0.5, 10.0], torch.tensor([True, False]))
    assert (found.accuracy, found.all_attributes) == (0.5, 0.5)
    assert (found.attributes[0].asked, found.attributes[0].unasked) == (0.5, 0.5)
    assert found.numbers[0].error == pytest.approx(1.0)
    assert found.error == pytest.approx(0.1)


def test_a_regressor_reads_vectors_and_is_cached(tmp_path):
    shades = np.random.default_rng(0).random((400, 2)).astype(np.float32)
    shades[:, 1] = shades[:, 1] > 0.5
    images = np.zeros((400, 8, 8, 1), np.uint8)
    images[:, :, :4, 0] = (shades[:, :1, None] * 255).astype(np.uint8)
    images[:, :, 4:, 0] = (shades[:, 1:, None] * 255).astype(np.uint8)
    np.save(tmp_path / "a.npy", images)
    np.save(tmp_path / "a.labels.npy", shades)
    data = open_data(str(tmp_path / "a.npy"), cache=tmp_path / "cache")
    regressor, origin = cached_regressor(data, tmp_path / "kept")
    assert "was trained" in origin
    wanted, read = regressor.held_out()
    assert (wanted - read).abs().mean() < 0.1
    again, origin = cached_regressor(data, tmp_path / "kept")
    assert "was trained" not in origin
    assert torch.equal(again.read(data.examples[:4]), regressor.read(data.examples[:4]))


def test_the_command_measures_the_accuracy_of_vectors(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path))
    assert call("eval", run.path, "--conditional-accuracy", "--samples", "20", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["metric"] for row in rows} == {"conditional-accuracy", "condition-error"}
    (accuracy,) = [row for row in rows if row["metric"] == "conditional-accuracy"]
    assert [each["name"] for each in accuracy["details"]["attributes"]] == ["smile"]
    assert call("eval", run.path, "--modes") == 2
