"""What lies at a path is found, ordered, classed and read; what cannot be used is named."""

import json
import os
import pickle
import stat
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ganforge.data import files
from ganforge.data.sources import open_source
from ganforge.errors import DataError


def png(grey=0, size=(4, 4)):
    stream = BytesIO()
    Image.new("L", size, grey).save(stream, "PNG")
    return stream.getvalue()


def write_tree(root, tree):
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_zip(path, tree, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(params=["folder", "zip", "wrapped zip"])
def lay(request, tmp_path):
    """Lays files out in each of the forms that must come to the same."""

    def make(tree):
        if request.param == "folder":
            return open_source(write_tree(tmp_path / "data", tree))
        if request.param == "wrapped zip":
            tree = {f"data/{name}": content for name, content in tree.items()}
        return open_source(write_zip(tmp_path / "data.zip", tree, compression=zipfile.ZIP_DEFLATED))

    return make


def greys(source):
    """The first pixel of each example, which tells test images apart."""
    images = [item[0] if isinstance(item, tuple) else item for item in map(source.__getitem__, range(len(source)))]
    return [image.getpixel((0, 0)) for image in images]


def test_pictures_come_sorted_by_name_from_all_depths(lay):
    source = lay({"b.png": png(2), "a.png": png(1), "sub/deep/c.PNG": png(3)})
    assert source.names == ["a.png", "b.png", "sub/deep/c.PNG"]
    assert greys(source) == [1, 2, 3]


def test_what_is_hidden_or_no_picture_is_passed_over(lay):
    source = lay(
        {
            "a.png": png(),
            "README.txt": b"hello",
            ".DS_Store": b"\0",
            "Thumbs.db": b"\0",
            "._a.png": b"\0",
            "__MACOSX/._a.png": b"\0",
            "__MACOSX/b.png": b"\0",
            ".git/c.png": b"\0",
            "notes": b"",
        }
    )
    assert source.names == ["a.png"]


def test_a_file_named_as_a_picture_must_be_one(lay):
    source = lay({"a.png": png(), "b.jpg": b"<html>"})
    with pytest.raises(DataError, match=r"data(\.zip)?/b\.jpg: this is a web page"):
        source[1]
    with pytest.raises(DataError, match=r"data(\.zip)?/b\.jpg: this is a web page"):
        source.shape(1)


def test_folders_are_classes_in_natural_order(lay):
    source = lay({"10/a.png": png(1), "2/b.png": png(2), "Cat/c.png": png(3), "2/d.png": png(4)})
    assert source.class_names == ("2", "10", "Cat")
    assert [source[index][1] for index in range(4)] == [1, 0, 0, 2]


def test_the_innermost_folder_is_the_class(lay):
    source = lay({"train/cat/a.png": png(), "train/dog/b.png": png(), "val/cat/c.png": png()})
    assert source.class_names == ("cat", "dog")
    assert source.labels == [0, 1, 0]


@pytest.mark.parametrize(
    "names",
    [
        ["a.png", "b.png"],
        ["only/a.png", "only/b.png"],
        ["cat/a.png", "dog/b.png", "beside.png"],
        ["cat/a.png", "cat/more/b.png", "dog/c.png"],
        ["train/images/a.png", "val/images/b.png"],
    ],
    ids=["flat", "one folder", "pictures beside", "pictures above", "same name"],
)
def test_other_layouts_are_unlabelled(lay, names):
    source = lay({name: png() for name in names})
    assert source.class_names == ()
    assert source.labels is None
    assert isinstance(source[0], Image.Image)


def test_a_label_list_overrides_the_folders(lay):
    listed = {"labels": [["00000/img1.png", 2], ["00001/img2.png", 0]]}
    source = lay(
        {"00000/img1.png": png(), "00001/img2.png": png(), "00001/img3.png": png(), "dataset.json": b"{}"}
        | {"dataset.json": json.dumps({"labels": [*listed["labels"], ["00001/img3.png", 1]]}).encode()}
    )
    assert source.class_names == ("0", "1", "2")
    assert source.labels == [2, 0, 1]


def test_a_label_list_may_say_that_there_are_no_classes(lay):
    source = lay({"00000/a.png": png(), "00001/b.png": png(), "dataset.json": b'{"labels": null}'})
    assert source.class_names == ()


@pytest.mark.parametrize("content", [b"[]", b'{"name": "my photos"}'])
def test_a_foreign_dataset_json_is_passed_over(lay, content):
    assert lay({"x/a.png": png(), "y/b.png": png(), "dataset.json": content}).class_names == ("x", "y")


@pytest.mark.parametrize(
    "labels", [[["a.png", 0]], [["a.png", 0], ["b.png", 0.5]], [["a.png", 0], ["b.png", 9]], [1], 7]
)
def test_a_label_list_that_does_not_fit_is_an_error(lay, labels):
    source = lay({"a.png": png(), "b.png": png(), "dataset.json": json.dumps({"labels": labels}).encode()})
    with pytest.raises(DataError, match=r"dataset\.json"):
        source.class_names  # noqa: B018


def test_no_pictures_is_an_error(lay):
    with pytest.raises(DataError, match="holds no images"):
        len(lay({"README.md": b"nothing here"}))


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        len(open_source(tmp_path))


def test_a_folder_is_found_again_until_a_file_changes(tmp_path):
    root = write_tree(tmp_path / "data", {"a.png": png(1), "b.png": png(2)})
    key = open_source(root).cache_key()
    assert open_source(root).cache_key() == key
    os.utime(root / "a.png", ns=(1, 1))
    touched = open_source(root).cache_key()
    (root / "b.png").rename(root / "c.png")
    renamed = open_source(root).cache_key()
    (root / "d.png").write_bytes(png())
    added = open_source(root).cache_key()
    (root / "notes.txt").write_text("of no concern")
    assert len({key, touched, renamed, added}) == 4
    assert open_source(root).cache_key() == added


@pytest.mark.parametrize("name", ["data.zip", "data.npy"])
def test_a_file_is_found_again_until_it_changes(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"whatever, it is not opened")
    key = open_source(path).cache_key()
    assert open_source(path).cache_key() == key
    os.utime(path, ns=(1, 1))
    assert open_source(path).cache_key() != key


def test_links_are_followed_and_rings_are_not(tmp_path):
    write_tree(tmp_path / "elsewhere", {"a.png": png(7)})
    root = write_tree(tmp_path / "data", {"b.png": png(8)})
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "ring").symlink_to(root)
    assert greys(open_source(root)) == [8, 7]


def test_a_dangling_link_is_an_error(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    source = open_source(tmp_path)
    assert source.names == ["a.png"]
    with pytest.raises(DataError, match=r"a\.png cannot be read: No such file"):
        source[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_named_as_a_picture_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png())
    assert stat.S_ISFIFO((tmp_path / "a.png").stat().st_mode)
    assert open_source(tmp_path).names == ["b.png"]


def test_a_file_too_large_for_a_picture_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 1 << 20)
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate((1 << 20) + 1)
    for look in (lambda source: source[0], lambda source: source.shape(0)):
        with pytest.raises(DataError, match=r"a\.png: 1 MiB are too much"):
            look(open_source(tmp_path))


def test_hostile_names_in_a_zip_stay_names(tmp_path):
    deep = "d/" * 500 + "deep.png"
    tree = {
        name: png(grey)
        for grey, name in enumerate(["../../up.png", "/etc/root.png", "win\\dows.png", deep, "line\nbreak\x1b[31m.png"])
    }
    (tmp_path / "x").mkdir()
    source = open_source(write_zip(tmp_path / "x" / "data.zip", tree))
    assert sorted(greys(source)) == [0, 1, 2, 3, 4]
    assert all(".." not in name and not name.startswith("/") and "\\" not in name for name in source.names)
    assert source.describe(source.names[-2]).isprintable()
    assert [path.name for path in tmp_path.rglob("*.*")] == ["data.zip"]


def test_an_encrypted_zip_is_an_error(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"a.png": png()})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag in the central directory
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.zip/a\.png is encrypted"):
        len(open_source(path))


def test_a_member_that_claims_too_much_is_an_error(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"a.png": png()})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 24 : entry + 28] = (600 << 20).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: 600 MiB are too much"):
        open_source(path)[0]


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_broken_zip_is_an_error(tmp_path, damage):
    path = write_zip(tmp_path / "data.zip", {"a.png": png()})
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"<html>", "empty": b""}[damage])
    with pytest.raises(DataError, match=r"data\.zip: the zip cannot be opened"):
        len(open_source(path))


def test_a_flipped_byte_in_a_member_is_an_error(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"a.png": png()})
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png cannot be read: Bad CRC"):
        open_source(path)[0]


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 1), (5, 6, 7, 3), (5, 6, 7, 4), (5, 1, 6, 7), (5, 3, 6, 7)])
def test_image_arrays_come_with_channels_last(tmp_path, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", array)
    source = open_source(tmp_path / "a.npy")
    expected = array[..., None] if array.ndim == 3 else array.transpose(0, 2, 3, 1) if shape[1] in (1, 3) else array
    assert len(source) == 5
    assert np.array_equal(source[2], expected[2])
    assert np.array_equal(np.stack(source.__getitems__([4, 0])), expected[[4, 0]])


def test_tiny_images_are_read_as_squares(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4, 4), np.uint8))
    assert open_source(tmp_path / "a.npy")[0].shape == (4, 4, 3)


@pytest.mark.parametrize(("shape", "length"), [((5,), 1), ((5, 3), 3)])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
def test_float_arrays_are_vectors(tmp_path, shape, length, dtype):
    array = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    np.save(tmp_path / "a.npy", array)
    source = open_source(tmp_path / "a.npy")
    assert np.array_equal(source[4], array[4].reshape(length))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((5, 6, 7), np.float32),
        np.zeros((5, 6, 7), np.uint16),
        np.zeros((5, 6), np.uint8),
        np.zeros((5, 6), np.int64),
        np.zeros((5, 6, 7, 2), np.uint8),
        np.zeros((5, 4, 4, 4), np.uint8),
        np.zeros((5, 3, 6, 3), np.uint8),
        np.zeros((5, 3, 6, 7, 1), np.uint8),
        np.zeros((0, 6, 7), np.uint8),
        np.zeros((), np.float32),
        np.zeros(3, np.complex64),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_other_arrays_are_errors(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=r"a\.npy"):
        len(open_source(tmp_path / "a.npy"))


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("it-ran",))


@pytest.mark.parametrize("form", ["object array", "bare pickle"])
def test_a_pickle_in_an_array_file_is_never_run(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    if form == "object array":
        np.save("a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    else:
        (tmp_path / "a.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"a\.npy"):
        len(open_source(tmp_path / "a.npy"))
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "npz"])
def test_a_broken_array_file_is_an_error(tmp_path, damage):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((5, 6, 7), np.uint8))
    whole = path.read_bytes()
    stream = BytesIO()
    np.savez(stream, a=np.zeros(3))
    path.write_bytes({"cut": whole[:-1], "text": b"<html>", "empty": b"", "npz": stream.getvalue()}[damage])
    with pytest.raises(DataError, match=r"a\.npy"):
        len(open_source(path))


@pytest.mark.parametrize("name", ["photos.tar.gz", "photo.jpg", "no_suffix"])
def test_other_files_are_errors(tmp_path, name):
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(DataError, match=name):
        open_source(tmp_path / name)


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="gone: no such file or folder"):
        open_source(tmp_path / "gone")
