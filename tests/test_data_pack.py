"""All examples get one form; packed once, they are found again; data sets that break the contract are named."""

import errno
import os
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge import Dataset, Paired
from ganforge.contract.errors import DataError, OptionError, PluginError
from ganforge.data import PackedData, cache_folder, decode, open_data, pack_data, packer, writing
from ganforge.data.packer import pack
from ganforge.data.threads import map_chunks
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry


def random_image(seed, size=(8, 8), mode="RGB"):
    channels = {"L": (), "RGB": (3,)}[mode]
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), np.uint8))


def write_images(root, images):
    for name, image in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name)
    return root


def images_of(data):
    """Examples as ``[N, H, W, C]`` arrays."""
    return data.examples.permute(0, 2, 3, 1).numpy()


class Listed(Dataset):
    """Yields its items, and counts accesses."""

    def __init__(self, items, class_names=(), key=None):
        self.items, self.class_names, self.key, self.calls = items, class_names, key, 0

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.calls += 1
        return self.items[index]

    def cache_key(self):
        return self.key


def registry_of(**datasets):
    return Registry([Plugin("test", "test", "", "ok", parts={"dataset": datasets})])


def open_items(items, resolution=None, **others):
    dataset = Listed(items, **others)
    return open_data("listed", registry=registry_of(listed=lambda: dataset), resolution=resolution)


# ---- one form ----


def test_images_of_one_square_size_keep_it_pixel_by_pixel(tmp_path):
    images = {f"{index}.png": random_image(index) for index in range(5)}
    data = open_data(str(write_images(tmp_path / "photos", images)))
    assert data.name == "photos"
    assert data.spec.shape == (3, 8, 8)
    assert np.array_equal(images_of(data), np.stack(list(images.values())))
    assert data.origin["crop"] == data.origin["resize"] == "none"


def test_images_of_one_oblong_size_keep_it(tmp_path):
    data = open_data(str(write_images(tmp_path, {f"{index}.png": random_image(index, (9, 5)) for index in range(3)})))
    assert data.spec.shape == (3, 5, 9)
    assert data.origin["size"] == [5, 9]
    assert data.origin["crop"] == "none"


def test_images_of_different_sizes_come_to_the_default(tmp_path):
    images = {
        "a.png": random_image(0, (90, 70)),
        "b.png": random_image(1, (64, 64)),
        "c.png": random_image(2, (20, 30)),
    }
    data = open_data(str(write_images(tmp_path, images)))
    assert data.spec.shape == (3, 64, 64)
    assert "default" in data.origin["size_is"]
    assert (data.origin["crop"], data.origin["resize"]) == ("center", "lanczos")
    assert np.array_equal(images_of(data)[1], images["b.png"])
    assert np.array_equal(images_of(data)[0], decode.fit(images["a.png"], (64, 64)))


def test_a_resolution_crops_and_resizes(tmp_path):
    image = random_image(0, (40, 30))
    data = open_data(str(write_images(tmp_path, {"a.png": image})), resolution=16)
    assert np.array_equal(images_of(data)[0], decode.fit(image, (16, 16)))
    assert data.origin["size_is"] == "as requested"


def test_a_width_and_a_height_crop_to_their_ratio_and_resize(tmp_path):
    image = random_image(0, (40, 30))
    source = str(write_images(tmp_path / "wide", {"a.png": image}))
    data = open_data(source, resolution="32x16")
    assert data.spec.shape == (3, 16, 32)
    cropped = image.crop((0, 5, 40, 25)).resize((32, 16), Image.Resampling.LANCZOS)
    assert np.array_equal(images_of(data)[0], cropped)
    packed = pack_data(source, tmp_path / "packed", resolution="32x16")
    assert packed.fingerprint == data.fingerprint
    assert open_data(str(tmp_path / "packed"), resolution="32x16").fingerprint == data.fingerprint
    assert open_data(str(tmp_path / "packed"), resolution="16x32").spec.shape == (3, 32, 16)
    assert open_data(source, resolution="16x16").fingerprint == open_data(source, resolution=16).fingerprint


def test_cropping_without_resizing_is_recorded_as_such(tmp_path):
    data = open_data(str(write_images(tmp_path, {"a.png": random_image(0, (20, 16))})), resolution=16)
    assert (data.origin["crop"], data.origin["resize"]) == ("center", "none")


def test_grey_images_keep_one_channel(tmp_path):
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    images = {"a.png": random_image(0, mode="L"), "b.png": Image.new("1", (8, 8), 1), "c.png": deep}
    data = open_data(str(write_images(tmp_path, images)))
    assert data.spec.shape == (1, 8, 8)
    assert data.examples[:, 0, 0, 0].tolist() == [images["a.png"].getpixel((0, 0)), 255, round(40_000 / 257)]


def test_one_colour_image_makes_three_channels(tmp_path):
    images = {f"{index:03}.png": random_image(index, mode="L") for index in range(100)}
    images["050.png"] = random_image(50)
    data = open_data(str(write_images(tmp_path, images)))
    assert data.spec.shape == (3, 8, 8)
    for channel in range(3):
        assert np.array_equal(images_of(data)[7][..., channel], images["007.png"])
    assert np.array_equal(images_of(data)[50], images["050.png"])


def test_an_orientation_that_no_header_tells_does_not_mislead(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    random_image(1, (9, 5)).save(tmp_path / "a.png", exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(content[start : start + 4], "big")
    end = content.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(content[:start] + content[stop:end] + content[start:stop] + content[end:])
    random_image(2, (5, 9)).save(tmp_path / "b.png")
    assert open_data(str(tmp_path)).spec.shape == (3, 9, 5)


@pytest.mark.parametrize("late", ["colour", "size"])
def test_what_a_survey_misses_is_packed_as_if_it_had_been_known(late):
    items = [np.full((8, 8), index % 251, np.uint8) for index in range(2000)]
    odd = 1234  # not among those that are looked at first
    items[odd] = np.full((8, 8, 3), (9, 8, 7), np.uint8) if late == "colour" else np.full((12, 12), 5, np.uint8)
    data = open_items(items)
    assert data.spec.shape == ((3, 8, 8) if late == "colour" else (1, 64, 64))
    assert data.examples[odd, :, 3, 3].tolist() == ([9, 8, 7] if late == "colour" else [5])
    assert data.examples[:, 0, 2, 2].tolist() == [int(item[0, 0] if item.ndim == 2 else 9) for item in items]


@pytest.mark.parametrize("item", ["pil", "grey array", "array", "grey tensor", "tensor"])
def test_an_image_may_come_in_each_form_of_the_contract(item):
    grey, colour = np.arange(64, dtype=np.uint8).reshape(8, 8), np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    image = {
        "pil": Image.fromarray(colour),
        "grey array": grey,
        "array": colour,
        "grey tensor": torch.from_numpy(grey),
        "tensor": torch.from_numpy(colour),
    }[item]
    data = open_items([image])
    assert np.array_equal(images_of(data)[0], colour if data.spec.shape[0] == 3 else grey[..., None])
    smaller = open_items([image], resolution=4)
    assert np.array_equal(
        images_of(smaller)[0].squeeze(), decode.fit(Image.fromarray(images_of(data)[0].squeeze()), (4, 4))
    )


def test_arrays_of_four_channels_keep_them():
    item = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    assert np.array_equal(images_of(open_items([item]))[0], item)


def test_vectors_become_float32():
    vectors = np.random.default_rng(0).normal(size=(300, 2))
    data = open_items(list(vectors))
    assert data.examples.dtype == torch.float32
    assert data.spec.shape == (2,)
    assert not data.spec.is_image
    assert np.array_equal(data.examples, vectors.astype(np.float32))


def test_large_images_on_several_threads_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.data.threads._num_cores", lambda: 4)
    monkeypatch.setattr("ganforge.data.threads._CHUNK_PIXELS", 2 * 160 * 160)
    images = {f"{index:02}.png": Image.new("L", (160, 160), index) for index in range(40)}
    data = open_data(str(write_images(tmp_path, images)), resolution=16)
    assert data.examples[:, 0, 8, 8].tolist() == list(range(40))


def most_at_once(pixels):
    """Number of threads that work at the same time on images of this size."""
    at_work, most, lock = 0, 0, threading.Lock()

    def work(indices):
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.02)
        with lock:
            at_work -= 1
        return indices.stop

    assert list(map_chunks(work, 12, pixels))[-1] == 12
    return most


def test_huge_images_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr("ganforge.data.threads._num_cores", lambda: 4)
    monkeypatch.setattr("ganforge.data.threads._CHUNK", 1)
    assert most_at_once(1_000_000) > 1
    assert most_at_once(89_000_000) == 1


def test_small_images_that_become_large_are_not_all_enlarged_at_once():
    seen = []
    registry = registry_of(listed=lambda: Listed([np.zeros((4, 4), np.uint8)] * 40))
    open_data("listed", registry=registry, resolution=512, progress=lambda done, total: seen.append(done))
    assert max(np.diff([0, *seen])) * 512 * 512 <= 1 << 22


def test_whole_batches_are_fetched_where_they_are_offered():
    class Batched(Listed):
        def __getitem__(self, index):
            raise AssertionError("not one by one")

        def __getitems__(self, indices):
            return [self.items[index] for index in indices]

    items = [np.full((4, 4), index, np.uint8) for index in range(200)]
    data = open_data("batched", registry=registry_of(batched=lambda: Batched(items)))
    assert data.examples[:, 0, 0, 0].tolist() == list(range(200))


class Headed(Listed):
    """Examples whose sizes are in headers."""

    def __init__(self, items, shapes):
        super().__init__(items)
        self.shapes, self.read = shapes, []

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)

    def example_name(self, index):
        return f"shard-{index // 2}/{index}.png"

    def example_shape(self, index):
        if isinstance(self.shapes[index], Exception):
            raise self.shapes[index]
        return self.shapes[index]


def test_where_headers_tell_sizes_every_example_is_read_once():
    images = [random_image(number, (8 + number % 2, 8)) for number in range(200)]
    headed = Headed(images, [(image.height, image.width, 3) for image in images])
    data = pack(headed, "headed", title="headed")
    assert headed.read == list(range(200))
    assert torch.equal(data.examples, pack(Listed(images), "listed", title="listed").examples)


def test_an_example_is_called_by_its_name():
    images = [random_image(number) for number in range(20)]
    shapes = [(8, 8, 3)] * 20
    headed = Headed([*images[:7], "no image", *images[8:]], shapes)
    with pytest.raises(PluginError, match=r"^headed, shard-3/7\.png is a str"):
        pack(headed, "headed", title="headed")
    headed = Headed(images, [*shapes[:7], DataError("it is cut off"), *shapes[8:]])
    assert pack(headed, "headed", title="headed", skip_bad=True).left_out == {"shard-3/7.png": "it is cut off"}
    headed = Headed(images, [*shapes[:7], ZeroDivisionError("oh"), *shapes[8:]])
    with pytest.raises(PluginError, match=r"headed, shard-3/7\.png: ZeroDivisionError: oh"):
        pack(headed, "headed", title="headed")


def test_a_name_that_cannot_be_had_is_told():
    class Nameless(Listed):
        def example_name(self, index):
            raise KeyError("no names")

    with pytest.raises(PluginError, match=r"nameless, example 0: example_name\(\) fails: KeyError: 'no names'"):
        pack(Nameless([random_image(0)]), "nameless", title="nameless")


def test_a_data_set_that_tells_sizes_yields_no_pairs():
    images = [random_image(number) for number in range(3)]
    headed = Headed([Paired(image=image, source=image) for image in images], [(8, 8, 3)] * 3)
    with pytest.raises(PluginError, match="has a source, others have none"):
        pack(headed, "headed", title="headed")


def test_progress_ends_with_all_examples():
    seen = []
    items = [np.zeros((4, 4), np.uint8)] * 600
    registry = registry_of(listed=lambda: Listed(items))
    open_data("listed", registry=registry, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    assert seen[-1] == (600, 600)
    assert seen == sorted(seen)


# ---- labels ----


def test_labels_come_with_their_names():
    data = open_items([(np.zeros((4, 4), np.uint8), label) for label in (2, 0, 1)], class_names=("x", "y", "z"))
    assert data.labels.tolist() == [2, 0, 1]
    assert data.labels.dtype == torch.int64
    assert data.spec.class_names == ("x", "y", "z")


@pytest.mark.parametrize("kind", [int, np.int64, torch.tensor, np.array])
def test_a_label_may_be_any_kind_of_int(kind):
    assert open_items([(np.zeros((4, 4), np.uint8), kind(label)) for label in (1, 0)]).labels.tolist() == [1, 0]


def test_labels_without_names_are_named_by_their_numbers():
    data = open_items([(np.zeros((4, 4), np.uint8), label) for label in (2, 0, 2, 0)])
    assert data.class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("labels", "names", "reason"),
    [
        ([0, 3], ("x", "y", "z"), "label of example 1 is 3"),
        ([0, -1], ("x", "y"), "label of example 1 is -1"),
        ([0, 999], (), "label of example 1 is 999"),
        ([0, 10**30], (), "label of example 1 is 10000"),
        ([0, None], ("x", "y"), "example 1 has no label"),
        ([None, None], ("x", "y"), "names 2 classes, but its examples have no labels"),
        ([0, 0.5], (), "0.5 is neither an int"),
        ([0, torch.rand(8, 8)], (), r"the label float32 \[8, 8\] is neither an int"),
        ([0, "cat"], (), "'cat' is neither an int"),
    ],
)
def test_labels_that_do_not_fit_are_errors(labels, names, reason):
    items = [(np.zeros((4, 4), np.uint8), label) for label in labels]
    with pytest.raises(PluginError, match=f"dataset 'listed'.*{reason}"):
        open_items(items, class_names=names)


# ---- data sets that break the contract ----


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (None, "NoneType"),
        ("photo.png", "str"),
        ({"image": 1}, "dict"),
        ((1, 2, 3), "tuple of 3"),
        (np.zeros((4, 4, 3), np.float64).astype(complex), r"complex128 \[4, 4, 3\]"),
        (np.zeros((4, 4), np.int64), r"int64 \[4, 4\]"),
        (torch.zeros(3, 5, 5, dtype=torch.uint8), r"uint8 \[3, 5, 5\]"),
        (np.zeros((6, 8, 8), np.float32), r"float32 \[6, 8, 8\]: channels seem to come first .*permute\(1, 2, 0\)"),
        (np.zeros((4, 4, 2, 1), np.uint8), r"uint8 \[4, 4, 2, 1\]"),
        (np.zeros(4, np.uint8), r"uint8 \[4\]"),
        (np.zeros((0, 4), np.uint8), r"uint8 \[0, 4\]"),
        (np.zeros(0, np.float32), r"float32 \[0\]"),
    ],
)
def test_an_item_of_another_kind_is_named(item, reason):
    with pytest.raises(PluginError, match=f"dataset 'listed', example 1 is a? ?{reason}") as error:
        open_items([np.zeros((4, 4), np.uint8), item])
    assert "uint8 [H, W]" in error.value.hint


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([np.zeros(2, np.float32), np.zeros(3, np.float32)], "vectors differ in length"),
        ([np.zeros(2, np.float32), np.zeros((4, 4), np.uint8)], "mixes images and vectors"),
        ([np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.uint8)], "mixes images of 4 channels"),
        ([np.array([1.0, np.nan])], "non-finite"),
        ([np.array([1e300])], "non-finite"),
        ([], "is empty"),
    ],
)
def test_items_that_do_not_fit_together_are_errors(items, reason):
    with pytest.raises(DataError, match=f"dataset 'listed'.*{reason}"):
        open_items(items)


def test_a_data_set_that_fails_is_named_with_the_example():
    class Broken(Listed):
        def __getitem__(self, index):
            if index == 70:
                raise KeyError("lost")
            return super().__getitem__(index)

    with pytest.raises(PluginError, match="dataset 'broken', example 70: KeyError: 'lost'"):
        open_data("broken", registry=registry_of(broken=lambda: Broken([np.zeros((4, 4), np.uint8)] * 100)))


def test_a_data_set_without_length_is_named():
    with pytest.raises(PluginError, match="dataset 'endless' cannot be opened"):
        open_data("endless", registry=registry_of(endless=lambda: iter(range(3))))


def test_a_batch_of_the_wrong_length_is_named():
    class Short(Listed):
        def __getitems__(self, indices):
            return [self.items[0]]

    with pytest.raises(PluginError, match=r"dataset 'short'.*returned 1 items for 3"):
        open_data("short", registry=registry_of(short=lambda: Short([np.zeros((4, 4), np.uint8)] * 3)))


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    root = write_images(tmp_path / "photos", {f"{index}.png": random_image(index, (64, 64)) for index in range(4)})
    whole = (root / "2.png").read_bytes()
    (root / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"photos/2\.png: cannot be decoded") as error:
        open_data(str(root))
    assert "ganforge data check" in error.value.hint


# ---- names, options and resolutions ----


def squares(*, count: int = 3, resolution: int = 8):
    return Listed([np.zeros((resolution, resolution), np.uint8)] * count)


def test_a_data_set_with_a_resolution_draws_at_it_itself():
    asked = []

    def drawn(*, resolution: int = 8):
        asked.append(resolution)
        return squares(resolution=resolution)

    data = open_data("drawn", registry=registry_of(drawn=drawn), resolution=20)
    assert asked == [20]
    assert data.spec.shape == (1, 20, 20)
    assert data.origin["resize"] == "none"
    assert data.origin["options"] == {"resolution": 20}


def test_a_data_set_draws_rectangles_at_their_longer_edge():
    data = open_data("squares", registry=registry_of(squares=squares), resolution="12x20")
    assert data.spec.shape == (1, 20, 12)
    assert data.origin["options"]["resolution"] == 20
    assert (data.origin["crop"], data.origin["resize"]) == ("center", "none")


def test_options_reach_the_data_set_as_their_types():
    data = open_data("squares", registry=registry_of(squares=squares), options={"count": "5"})
    assert len(data) == 5
    assert data.origin["options"] == {"count": 5, "resolution": 8}


def test_two_resolutions_are_an_error():
    with pytest.raises(OptionError, match="two resolutions"):
        open_data("squares", registry=registry_of(squares=squares), options={"resolution": 4}, resolution=8)


def test_an_unknown_option_is_an_error_with_the_nearest():
    with pytest.raises(OptionError, match="cout") as error:
        open_data("squares", registry=registry_of(squares=squares), options={"cout": 4})
    assert "count" in error.value.hint


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(DataError, match="'sqares' is not a file, folder or data set") as error:
        open_data("sqares", registry=registry_of(squares=squares))
    assert "squares" in error.value.hint


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="gone: no such file or folder"):
        open_data(str(tmp_path / "gone"), registry=registry_of(squares=squares))


@pytest.mark.parametrize(
    "source",
    ["", "x" * 5000, "a\0b", "~nobody-of-that-name/x", "/", "\n\x1b[31m", "a/" * 3000, "..", "💥"],
    ids=lambda source: repr(source[:12]),
)
def test_no_source_ends_in_a_traceback(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganforge.data.files.FolderImages._walk", lambda self: [])
    for registry in (None, registry_of(squares=squares)):
        with pytest.raises((DataError, OptionError)) as error:
            open_data(source, registry=registry)
        assert "\n" not in error.value.message


@pytest.mark.parametrize("key", [7, object()])
def test_a_cache_key_that_is_no_text_is_named(key):
    with pytest.raises(PluginError, match=r"dataset 'listed': cache_key\(\) returned"):
        open_items([np.zeros((4, 4), np.uint8)], key=key)


def test_a_data_set_wins_over_a_folder_of_its_name_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "squares", {"a.png": random_image(0, (5, 5))})
    data = open_data("squares", registry=registry_of(squares=squares))
    assert data.spec.shape == (1, 8, 8)
    assert "./squares" in data.note
    assert open_data("./squares", registry=registry_of(squares=squares)).spec.shape == (3, 5, 5)


def test_a_path_takes_no_options(tmp_path):
    with pytest.raises(OptionError, match="has no option 'count'"):
        open_data(str(write_images(tmp_path, {"a.png": random_image(0)})), options={"count": 1})


@pytest.mark.parametrize("resolution", [0, -4, "0x8", "wide"])
def test_a_resolution_below_one_is_an_error(tmp_path, resolution):
    with pytest.raises(OptionError, match=f"resolution: '?{str(resolution).removesuffix('x8')}"):
        open_data(str(tmp_path), resolution=resolution)


def test_vectors_have_no_resolution():
    with pytest.raises(DataError, match="vectors, which have no resolution"):
        open_items([np.zeros(2, np.float32)], resolution=8)


# ---- the fingerprint ----


def labelled(tmp_path, name, change=lambda images: None):
    images = {f"{kind}/{index}.png": random_image(index) for kind in ("cat", "dog") for index in range(3)}
    change(images)
    return write_images(tmp_path / name, images)


def test_the_fingerprint_is_of_what_a_network_sees(tmp_path):
    def one_pixel(images):
        red, green, blue = images["cat/1.png"].getpixel((3, 3))
        images["cat/1.png"].putpixel((3, 3), (red ^ 1, green, blue))

    def one_label(images):
        images["cat/3.png"] = images.pop("dog/0.png")

    def one_name(images):
        for index in range(3):
            images[f"wolf/{index}.png"] = images.pop(f"dog/{index}.png")

    changes = {"same": lambda images: None, "pixel": one_pixel, "label": one_label, "name": one_name}
    found = {name: open_data(str(labelled(tmp_path, name, change))) for name, change in changes.items()}
    fingerprints = {name: data.fingerprint for name, data in found.items()}
    assert len(set(fingerprints.values())) == 4
    # The pictures of these two are the same, in the same order: they differ only in a label or a name.
    for name in ("label", "name"):
        assert torch.equal(found[name].examples, found["same"].examples)


def test_the_fingerprint_does_not_depend_on_names_places_or_formats(tmp_path):
    def rename(images):
        for name in list(images):
            images[name.replace("/", "/photo-").replace(".png", ".bmp")] = images.pop(name)

    first = labelled(tmp_path, "first")
    renamed = labelled(tmp_path, "renamed", rename)
    with zipfile.ZipFile(tmp_path / "third.zip", "w") as archive:
        for path in sorted(first.rglob("*.png"), reverse=True):
            archive.write(path, path.relative_to(tmp_path))
    packed = pack_data(str(first), tmp_path / "packed")
    opened = [open_data(str(path)) for path in (first, renamed, tmp_path / "third.zip", tmp_path / "packed")]
    assert {data.fingerprint for data in [*opened, packed]} == {packed.fingerprint}


def test_the_fingerprint_is_the_same_in_memory_and_on_disk(tmp_path):
    items = [
        (item, index % 2) for index, item in enumerate(np.random.default_rng(0).integers(0, 9, (9, 4, 4), np.uint8))
    ]
    in_memory = open_items(items, class_names=("a", "b"))
    on_disk = open_items(items, class_names=("a", "b"), key="1")
    assert in_memory.fingerprint == on_disk.fingerprint
    assert in_memory.is_intact()
    assert on_disk.is_intact()


def test_an_array_file_packs_as_the_same_pictures_do(tmp_path):
    images = [random_image(index) for index in range(3)]
    np.save(tmp_path / "a.npy", np.stack(images))
    np.save(tmp_path / "b.npy", np.stack(images).transpose(0, 3, 1, 2))
    write_images(tmp_path / "photos", {f"{index}.png": image for index, image in enumerate(images)})
    assert len({open_data(str(tmp_path / name)).fingerprint for name in ("a.npy", "b.npy", "photos")}) == 1


# ---- the cache ----


def test_a_second_opening_decodes_nothing(tmp_path, monkeypatch):
    root = write_images(tmp_path / "photos", {f"{index}.png": random_image(index) for index in range(3)})
    first = open_data(str(root))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("decoded again"))
    second = open_data(str(root))
    assert torch.equal(first.examples, second.examples)
    assert (first.name, first.fingerprint, first.origin) == (second.name, second.fingerprint, second.origin)


def test_a_changed_file_another_resolution_or_another_path_misses(tmp_path):
    root = write_images(tmp_path / "photos", {f"{index}.png": random_image(index) for index in range(3)})
    first = open_data(str(root))
    assert open_data(str(root), resolution=4).spec.shape == (3, 4, 4)
    random_image(9, (8, 8)).save(root / "1.png")
    os.utime(root / "1.png", ns=(1, 1))
    second = open_data(str(root))
    assert first.fingerprint != second.fingerprint
    assert np.array_equal(images_of(second)[1], random_image(9, (8, 8)))


def test_a_data_set_is_packed_again_only_when_its_key_or_options_change():
    made = []

    def listed(*, count: int = 3):
        made.append(Listed([np.zeros((4, 4), np.uint8)] * count, key="1"))
        return made[-1]

    registry = registry_of(listed=listed)
    for options in ({}, {"count": 3}, {"count": 4}):
        assert len(open_data("listed", registry=registry, options=options)) == options.get("count", 3)
    assert [dataset.calls > 0 for dataset in made] == [True, False, True]
    made[0].key = "2"
    assert len(open_data("listed", registry=registry_of(listed=lambda: made[0]))) == 3


def test_a_data_set_without_a_key_leaves_nothing_behind():
    open_items([np.zeros((4, 4), np.uint8)])
    assert not cache_folder().exists() or not list(cache_folder().rglob("*.npy"))


def test_any_map_style_data_set_will_do():
    class Plain:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.full((4, 4), index, np.uint8)

    assert open_data("plain", registry=registry_of(plain=Plain)).examples[:, 0, 0, 0].tolist() == [0, 1]


def test_a_damaged_cache_is_made_again(tmp_path):
    root = write_images(tmp_path / "photos", {"a.png": random_image(0)})
    first = open_data(str(root), cache=tmp_path / "cache")
    (array,) = (tmp_path / "cache").rglob("examples.npy")
    array.write_bytes(array.read_bytes()[:-5])
    os.utime(array.parent, (0, 0))  # a younger one might still be arriving from another machine
    second = open_data(str(root), cache=tmp_path / "cache")
    assert second.fingerprint == first.fingerprint
    assert second.is_intact()


def test_a_cache_that_cannot_be_written_is_done_without_and_said(tmp_path):
    root = write_images(tmp_path / "photos", {"a.png": random_image(0)})
    (tmp_path / "cache").write_text("in the way")
    data = open_data(str(root), cache=tmp_path / "cache")
    assert np.array_equal(images_of(data)[0], random_image(0))
    assert "packed in memory" in data.note


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_full_disk_is_done_without_and_said(tmp_path, monkeypatch, when):
    root = write_images(tmp_path / "photos", {"a.png": random_image(0)})
    if when == "before":
        monkeypatch.setattr(packer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    else:
        append = writing.ArrayWriter.append

        def full(self, rows):
            if self._file:
                raise OSError(errno.ENOSPC, "No space left on device")
            append(self, rows)

        monkeypatch.setattr(writing.ArrayWriter, "append", full)
    data = open_data(str(root), cache=tmp_path / "cache")
    assert np.array_equal(images_of(data)[0], random_image(0))
    assert "packed in memory" in data.note
    assert list((tmp_path / "cache").iterdir()) == []


def test_more_than_memory_holds_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(packer, "machine_memory", lambda: 100)
    with pytest.raises(DataError, match="exceed memory") as error:
        open_items([np.zeros((4, 4), np.uint8)] * 10)
    assert "--resolution" in error.value.hint


def test_two_processes_that_pack_the_same_both_get_it(tmp_path, monkeypatch):
    root = write_images(tmp_path / "photos", {"a.png": random_image(0)})
    rename = Path.rename

    def slower(self, target):
        monkeypatch.setattr(Path, "rename", rename)
        faster.append(open_data(str(root), cache=tmp_path / "cache"))
        return rename(self, target)

    faster = []
    monkeypatch.setattr(Path, "rename", slower)
    data = open_data(str(root), cache=tmp_path / "cache")
    assert data.fingerprint == faster[0].fingerprint
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_cache_lies_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("GANFORGE_CACHE", "~/mine")
    assert cache_folder() == Path.home() / "mine"
    monkeypatch.delenv("GANFORGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/ganforge")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "ganforge"


# ---- packed folders as a source ----


def test_packed_data_are_taken_as_they_are_or_resized(tmp_path):
    root = labelled(tmp_path, "photos")
    packed = pack_data(str(root), tmp_path / "packed")
    assert isinstance(packed, PackedData)
    same = open_data(str(tmp_path / "packed"), resolution=8)
    assert same.fingerprint == packed.fingerprint
    smaller = open_data(str(tmp_path / "packed"), resolution=4)
    assert smaller.fingerprint == open_data(str(root), resolution=4).fingerprint
    again = pack_data(str(tmp_path / "packed"), tmp_path / "copy")
    assert again.fingerprint == packed.fingerprint


def test_packing_into_a_folder_that_is_taken_is_an_error(tmp_path):
    root = labelled(tmp_path, "photos")
    with pytest.raises(DataError, match="photos already exists"):
        pack_data(str(root), root)
    assert len(list(root.rglob("*.png"))) == 6


def test_packing_where_nothing_can_be_written_is_an_error(tmp_path):
    root = labelled(tmp_path, "photos")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        pack_data(str(root), tmp_path / "file" / "out")
