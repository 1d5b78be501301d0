"""torchvision's sets by name: what they yield from files in place, and what they say where there are none."""

import hashlib
import io
import pickle
import struct
import urllib.error
import urllib.request
from importlib import util

import numpy as np
import pytest
import torchvision
from PIL import Image

import ganforge
from ganforge.builtin import lsun, torchvision_sets
from ganforge.contract.errors import DataError, OptionError
from ganforge.data import open_data
from ganforge.plugins.loading import Plugin
from ganforge.plugins.options import read_options
from ganforge.plugins.registry import Registry

FACTORIES = torchvision_sets.ganforge_datasets()
REGISTRY = Registry([Plugin("sets", "test", "", "ok", parts={"dataset": FACTORIES})])


def open_set(name, root, **options):
    return open_data(name, registry=REGISTRY, options={"root": str(root), **options})


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"uint8": 8, "int32": 12}[array.dtype.name]
    header = struct.pack(">BBBB", 0, 0, kind, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(array.dtype.newbyteorder(">")).tobytes())


def digits(count=10):
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("name", "kind"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_idx_sets_give_their_pictures_and_classes(tmp_path, no_network, name, kind, split):
    for prefix, images in (("train", digits(10)), ("t10k", 255 - digits(10))):
        write_idx(tmp_path / kind / "raw" / f"{prefix}-images-idx3-ubyte", images)
        write_idx(tmp_path / kind / "raw" / f"{prefix}-labels-idx1-ubyte", np.arange(10, dtype=np.uint8)[::-1])
    data = open_set(name, tmp_path, split=split)
    assert np.array_equal(data.examples[:, 0], digits(10) if split == "train" else 255 - digits(10))
    assert data.labels.tolist() == list(range(10))[::-1]
    assert data.class_names == tuple(getattr(torchvision.datasets, kind).classes)


@pytest.mark.parametrize(("split", "first", "names"), [("letters", 1, "abc"), ("balanced", 0, "012")])
def test_emnist_is_upright_and_counts_its_classes_from_zero(tmp_path, no_network, split, first, names):
    prefix = tmp_path / "EMNIST" / "raw" / f"emnist-{split}-train"
    write_idx(prefix.with_name(f"{prefix.name}-images-idx3-ubyte"), digits(3))
    write_idx(prefix.with_name(f"{prefix.name}-labels-idx1-ubyte"), np.arange(first, first + 3, dtype=np.uint8))
    data = open_set("emnist", tmp_path, split=split)
    assert np.array_equal(data.examples[:, 0], digits(3).transpose(0, 2, 1))
    assert data.labels.tolist() == [0, 1, 2]
    assert data.class_names[:3] == tuple(names)


def test_qmnist_gives_its_pictures_and_classes(tmp_path, no_network):
    write_idx(tmp_path / "QMNIST" / "raw" / "qmnist-train-images-idx3-ubyte", digits(4))
    labels = np.zeros((4, 8), np.int32)
    labels[:, 0] = [3, 1, 4, 1]
    write_idx(tmp_path / "QMNIST" / "raw" / "qmnist-train-labels-idx2-int", labels)
    data = open_set("qmnist", tmp_path)
    assert np.array_equal(data.examples[:, 0], digits(4))
    assert data.labels.tolist() == [3, 1, 4, 1]


def write_cifar(root, monkeypatch, kind):
    """A tiny set in CIFAR's form, with its digests patched into torchvision."""
    images = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), np.uint8)
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    key = "labels" if kind.base_folder == "cifar-10-batches-py" else "fine_labels"

    def write(name, content):
        raw = pickle.dumps(content)
        (folder / name).write_bytes(raw)
        return [name, hashlib.md5(raw).hexdigest()]

    batch = write("batch", {"data": images.transpose(0, 3, 1, 2).reshape(6, -1), key: [5, 4, 3, 2, 1, 0]})
    meta = write("meta", {kind.meta["key"]: list("uvwxyz")})
    monkeypatch.setattr(kind, "train_list", [batch])
    monkeypatch.setattr(kind, "test_list", [])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": "meta", "md5": meta[1]})
    return images


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_gives_its_pictures_and_classes(tmp_path, no_network, monkeypatch, name):
    images = write_cifar(tmp_path, monkeypatch, getattr(torchvision.datasets, name.upper()))
    data = open_set(name, tmp_path)
    assert np.array_equal(data.examples.permute(0, 2, 3, 1), images)
    assert data.labels.tolist() == [5, 4, 3, 2, 1, 0]
    assert data.class_names == tuple("uvwxyz")


def test_a_cifar_pickle_of_another_digest_is_never_run(tmp_path, no_network, monkeypatch):
    kind = torchvision.datasets.CIFAR10
    write_cifar(tmp_path, monkeypatch, kind)
    monkeypatch.chdir(tmp_path)
    (tmp_path / kind.base_folder / "batch").write_bytes(b"cos\nmkdir\n(S'it-ran'\ntR.")
    with pytest.raises(DataError, match="cifar10"):
        open_set("cifar10", tmp_path)
    assert not (tmp_path / "it-ran").exists()


def test_stl10_gives_its_pictures_with_or_without_classes(tmp_path, no_network, monkeypatch):
    kind = torchvision.datasets.STL10
    images = np.random.default_rng(2).integers(0, 256, (3, 96, 96, 3), np.uint8)
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    for name in ("train_X.bin", "unlabeled_X.bin"):
        (folder / name).write_bytes(images.transpose(0, 3, 2, 1).tobytes())
    (folder / "train_y.bin").write_bytes(bytes([3, 1, 2]))
    (folder / "class_names.txt").write_text("airplane\nbird\ncar\n")
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    labelled = open_set("stl10", tmp_path)
    assert np.array_equal(labelled.examples.permute(0, 2, 3, 1), images)
    assert labelled.labels.tolist() == [2, 0, 1]
    assert labelled.class_names == ("airplane", "bird", "car")
    assert open_set("stl10", tmp_path, split="unlabeled").labels is None


def picture(path, size=(20, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "orange").save(path)


def test_imagenette_food_and_pets_give_pictures_and_classes(tmp_path, no_network):
    picture(tmp_path / "imagenette2-320" / "train" / "n01440764" / "a.JPEG")
    picture(tmp_path / "imagenette2-320" / "train" / "n03888257" / "b.JPEG")
    data = open_set("imagenette", tmp_path)
    assert data.class_names == ("tench", "parachute")
    assert data.labels.tolist() == [0, 1]
    assert data.spec.shape == (3, 16, 20)

    picture(tmp_path / "food-101" / "images" / "pizza" / "1.jpg")
    (tmp_path / "food-101" / "meta").mkdir()
    (tmp_path / "food-101" / "meta" / "train.json").write_text('{"pizza": ["pizza/1"]}')
    assert open_set("food101", tmp_path).class_names == ("pizza",)

    picture(tmp_path / "oxford-iiit-pet" / "images" / "Maine_Coon_1.jpg")
    (tmp_path / "oxford-iiit-pet" / "annotations").mkdir()
    (tmp_path / "oxford-iiit-pet" / "annotations" / "trainval.txt").write_text("Maine_Coon_1 1 1 1\n")
    assert open_set("oxford-pets", tmp_path).class_names == ("Maine Coon",)


def test_celeba_gives_faces_without_classes(tmp_path, no_network, monkeypatch):
    folder = tmp_path / "celeba"
    for index in range(3):
        picture(folder / "img_align_celeba" / f"{index}.jpg", (178, 218))
    names = [f"{index}.jpg" for index in range(3)]
    (folder / "list_eval_partition.txt").write_text("".join(f"{name} {int(name == '2.jpg')}\n" for name in names))
    for name in ("identity_CelebA", "list_bbox_celeba", "list_landmarks_align_celeba", "list_attr_celeba"):
        header = "" if name == "identity_CelebA" else "3\nSmiling\n"
        (folder / f"{name}.txt").write_text(header + "".join(f"{each} 1\n" for each in names))
    monkeypatch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)
    data = open_set("celeba", tmp_path)
    assert len(data) == 2
    assert data.labels is None
    assert data.spec.shape == (3, 218, 178)


@pytest.mark.parametrize("name", torchvision_sets.SETS)
def test_offline_one_error_says_what_to_place_where(tmp_path, no_network, monkeypatch, name):
    monkeypatch.setattr(torchvision_sets, "find_spec", lambda package: package != "gdown")
    with pytest.raises(DataError) as error:
        open_set(name, tmp_path)
    message, hint = error.value.message, error.value.hint
    assert name in message
    assert str(tmp_path) in message
    assert len(message) + len(hint) < 600
    assert "\n" not in message + hint
    kind = getattr(torchvision.datasets, torchvision_sets.SETS[name].kind)
    expected = {
        "mnist": (kind.__name__, "train-images-idx3-ubyte.gz"),
        "fashion-mnist": (kind.__name__, "t10k-labels-idx1-ubyte.gz"),
        "kmnist": (kind.__name__, "train-labels-idx1-ubyte.gz"),
        "emnist": ("EMNIST/raw", "gzip.zip"),
        "qmnist": ("QMNIST/raw", "qmnist-train-images-idx3-ubyte.gz"),
        "cifar10": ("", "cifar-10-python.tar.gz"),
        "cifar100": ("", "cifar-100-python.tar.gz"),
        "svhn": ("", "train_32x32.mat"),
        "stl10": ("", "stl10_binary.tar.gz"),
        "celeba": ("celeba", "img_align_celeba/"),
        "flowers102": ("flowers-102", "102flowers.tgz"),
        "food101": ("", "food-101.tar.gz"),
        "oxford-pets": ("oxford-iiit-pet", "annotations.tar.gz"),
        "imagenette": ("", "imagenette2-320.tgz"),
    }[name]
    assert str(tmp_path / expected[0]) in hint
    assert expected[1] in hint
    assert ("pip install gdown" in hint) == (name == "celeba")


def test_a_file_that_was_placed_by_hand_is_unpacked_without_a_network(tmp_path, no_network, monkeypatch):
    import gzip

    kind = torchvision.datasets.MNIST
    resources = []
    for name, array in (
        ("train-images-idx3-ubyte", digits(2)),
        ("train-labels-idx1-ubyte", np.zeros(2, np.uint8)),
        ("t10k-images-idx3-ubyte", digits(2)),
        ("t10k-labels-idx1-ubyte", np.zeros(2, np.uint8)),
    ):
        path = tmp_path / "MNIST" / "raw" / name
        write_idx(path, array)
        packed = gzip.compress(path.read_bytes())
        path.unlink()
        path.with_name(f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(kind, "resources", resources)
    assert np.array_equal(open_set("mnist", tmp_path).examples[:, 0], digits(2))


@pytest.mark.parametrize(("name", "package"), [("svhn", "scipy"), ("flowers102", "scipy"), ("lsun-bedroom", "lmdb")])
def test_a_missing_package_is_named_before_anything_is_downloaded(tmp_path, monkeypatch, name, package):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("tried to download"))
    for module in (torchvision_sets, lsun):
        monkeypatch.setattr(module, "find_spec", lambda wanted: None if wanted == package else util.find_spec(wanted))
    with pytest.raises(DataError, match="needs a package") as error:
        open_set(name, tmp_path)
    assert error.value.hint == f"pip install {package}"


def test_a_packed_set_opens_without_torchvision(tmp_path, no_network, monkeypatch):
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / "MNIST" / "raw" / f"{prefix}-images-idx3-ubyte", digits(2))
        write_idx(tmp_path / "MNIST" / "raw" / f"{prefix}-labels-idx1-ubyte", np.zeros(2, np.uint8))
    first = open_set("mnist", tmp_path)
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda **_: pytest.fail("opened again"))
    assert open_set("mnist", tmp_path).fingerprint == first.fingerprint
    with pytest.raises(pytest.fail.Exception):
        open_set("mnist", tmp_path, split="test")


def test_files_lie_in_the_cache_unless_told_otherwise(no_network):
    with pytest.raises(DataError) as error:
        open_data("cifar10", registry=REGISTRY)
    assert str(ganforge.cache_folder() / "downloads") in error.value.hint


@pytest.mark.parametrize("name", FACTORIES)
def test_every_set_describes_itself_and_its_splits(name):
    options = read_options(FACTORIES[name])
    assert set(options) == {"root", "split"}
    assert all(option.help for option in options.values())
    assert options["split"].default in options["split"].type_name.split("|")
    assert FACTORIES[name].__doc__.split("\n")[0].endswith(".")
    with pytest.raises(OptionError, match="split"):
        open_set(name, "nowhere", split="trian")


class FakeLmdb:
    """As much of the lmdb package as is used."""

    class Error(Exception):
        pass

    content = None

    @classmethod
    def open(cls, path, **options):
        assert options["readonly"]
        if cls.content is None:
            raise cls.Error("No such file")
        return cls()

    def begin(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def cursor(self):
        return self

    def iternext(self, keys, values):
        assert (keys, values) == (True, False)
        return iter(self.content)

    def get(self, key):
        return self.content[key]


def test_lsun_gives_its_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(lsun, "find_spec", lambda _: True)
    monkeypatch.setattr(lsun, "import_module", lambda _: FakeLmdb)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="church_outdoor_train_lmdb") as error:
        open_set("lsun-church", tmp_path)
    assert "church_outdoor_train_lmdb.zip" in error.value.hint
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(stream, "WEBP", lossless=True)
    monkeypatch.setattr(FakeLmdb, "content", {b"a": stream.getvalue(), b"b": stream.getvalue()})
    data = open_set("lsun-church", tmp_path)
    assert data.spec.shape == (3, 20, 30)
    assert len(data) == 2
    assert data.examples[:, :, 5, 5].tolist() == [[255, 0, 0]] * 2
    assert list(tmp_path.iterdir()) == []
