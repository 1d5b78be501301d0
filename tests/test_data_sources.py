"""Files at a path are found, ordered, labeled and read; unusable ones are named."""

import json
import os
import pickle
import stat
import struct
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ganforge.contract.errors import DataError
from ganforge.data import files
from ganforge.data.sources import open_source


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
    """Writes files in each of the forms that must give the same data."""

    def make(tree):
        if request.param == "folder":
            return open_source(write_tree(tmp_path / "data", tree))
        if request.param == "wrapped zip":
            tree = {f"data/{name}": content for name, content in tree.items()}
        return open_source(write_zip(tmp_path / "data.zip", tree, compression=zipfile.ZIP_DEFLATED))

    return make


def greys(source):
    """The first pixel of each example, which is unique in the test images."""
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
        source.example_shape(1)


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


@pytest.mark.parametrize("content", [b"not JSON", b'{"labels": [["a.p', b"\xff\xfe\xfd", b"[" * 100_000, b"9" * 5_000])
def test_a_label_list_that_is_no_whole_json_is_an_error_and_no_label_is_lost(lay, content):
    source = lay({"x/a.png": png(), "y/b.png": png(), "dataset.json": content})
    with pytest.raises(DataError, match=r"dataset\.json: invalid JSON") as error:
        source.class_names  # noqa: B018
    assert "rename it" in error.value.hint


def test_a_label_list_that_contradicts_itself_is_an_error(lay):
    labels = {"labels": [["a.png", 0], ["b.png", 1], ["a.png", 1]]}
    with pytest.raises(DataError, match=r"'a\.png' has two labels"):
        lay({"a.png": png(), "b.png": png(), "dataset.json": json.dumps(labels).encode()}).class_names  # noqa: B018


def test_a_label_list_far_longer_than_its_pictures_need_is_not_read(lay, monkeypatch):
    monkeypatch.setattr("ganforge.data.classes.parse_json", lambda _: pytest.fail("read"))
    with pytest.raises(DataError, match=r"dataset\.json: 2\.0 MB exceed the limit of .* MB for labels of 1 images"):
        lay({"a.png": png(), "dataset.json": b" " * 2_000_000}).class_names  # noqa: B018


@pytest.mark.parametrize(
    "label", ["[" * 500 + "]" * 500, "9" * 4_000, '"' + "x" * 9_000 + '"', '["x",' + "0," * 9_999 + "0]"]
)
def test_a_monstrous_label_is_told_in_one_short_line(lay, label):
    source = lay({"a.png": png(), "dataset.json": f'{{"labels": [["a.png", {label}]]}}'.encode()})
    with pytest.raises(DataError, match=r"the label of 'a\.png' is|dataset\.json: invalid JSON") as error:
        source.class_names  # noqa: B018
    assert len(error.value.message) < 300


@pytest.mark.parametrize(
    "labels", [[["a.png", 0]], [["a.png", 0], ["b.png", 0.5]], [["a.png", 0], ["b.png", 9]], [1], 7]
)
def test_a_label_list_that_does_not_fit_is_an_error(lay, labels):
    source = lay({"a.png": png(), "b.png": png(), "dataset.json": json.dumps({"labels": labels}).encode()})
    with pytest.raises(DataError, match=r"dataset\.json"):
        source.class_names  # noqa: B018


def test_numbers_of_thousands_of_digits_are_sorted_too(tmp_path):
    names = ["9" * 5_000, "1" + "0" * 5_000, "2", "0010", "10"]
    source = open_source(write_zip(tmp_path / "data.zip", {f"{name}/a.png": png() for name in names}))
    assert source.class_names == ("2", "0010", "10", names[0], names[1])


def test_folders_as_deep_as_names_allow_are_classed_at_once(tmp_path):
    names = [f"{kind}/" + "d/" * 30_000 + f"{kind}{index}/a.png" for index in range(50) for kind in "xy"]
    source = open_source(write_zip(tmp_path / "data.zip", {name: png() for name in names}))
    assert len(source.class_names) == 100


def test_a_folder_whose_name_begins_like_anothers_does_not_lie_within_it(lay):
    assert lay({"cat/a.png": png(), "cats/b.png": png(), "cat!/c.png": png()}).class_names == ("cat", "cat!", "cats")


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


def test_names_that_are_no_text_are_read_and_told_apart(tmp_path):
    for byte in (b"\xfe", b"\xff"):
        folder = os.fsencode(tmp_path / "data") + b"/" + byte
        try:
            os.makedirs(folder)
        except OSError:
            pytest.skip("this file system takes text only")
        with open(folder + b"/line\nbreak" + byte + b".png", "wb") as file:
            file.write(png(byte[0]))
    source = open_source(tmp_path / "data")
    assert [source[index][0].getpixel((0, 0)) for index in range(2)] == [0xFE, 0xFF]
    assert source.labels == [0, 1]
    assert source.class_names == (r"\udcfe", r"\udcff")
    told = [source.describe(name) for name in source.names]
    assert told[1] == rf"{tmp_path}/data/\udcff/line\nbreak\udcff.png"
    assert told[0] != told[1]
    json.dumps(told).encode()
    "".join(told).encode()


def test_members_whose_names_are_no_utf8_are_read(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"caf\u00e9-\u732b.png": png(7)})
    name = "caf\u00e9-\u732b.png".encode()
    content = path.read_bytes().replace(name, b"\xff" * len(name[:-4]) + b".png")
    path.write_bytes(content)
    with pytest.raises(DataError, match="the zip cannot be opened"):
        len(open_source(path))  # it says that they are UTF-8, which they are not
    content = bytearray(content)
    content[content.index(b"PK\1\2") + 9] &= ~8
    content[content.index(b"PK\3\4") + 7] &= ~8
    path.write_bytes(content)
    assert greys(open_source(path)) == [7]


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
    for look in (lambda source: source[0], lambda source: source.example_shape(0)):
        with pytest.raises(DataError, match=r"a\.png: 1 MiB exceed the limit"):
            look(open_source(tmp_path))


def test_large_files_are_held_in_memory_one_at_a_time(tmp_path, monkeypatch):
    source = open_source(write_tree(tmp_path / "data", {f"{index}.png": png() for index in range(6)}))

    def most_at_once():
        held, most = [], []

        def hold(name):
            with source.content(name):
                held.append(name)
                most.append(len(held))
                time.sleep(0.02)
                held.remove(name)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(hold, source.names))
        return max(most)

    assert most_at_once() > 1
    monkeypatch.setattr(files, "_LARGE_BYTES", 10)
    assert most_at_once() == 1


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


def test_a_zip_within_is_named_and_not_opened(lay, tmp_path):
    inner = write_zip(tmp_path / "inner.zip", {"a.png": png()}).read_bytes()
    with pytest.raises(DataError, match=r"holds no images, but (data/)?part/inner\.zip") as error:
        len(lay({"part/inner.zip": inner, "notes.txt": b""}))
    assert "unpack it" in error.value.hint


def test_a_zip_that_is_called_a_picture_is_named_for_what_it_is(lay, tmp_path):
    inner = write_zip(tmp_path / "inner.zip", {"a.png": png()}).read_bytes()
    with pytest.raises(DataError, match=r"b\.png: this is a zip"):
        lay({"a.png": png(), "b.png": inner})[1]


@pytest.mark.parametrize("other", ["a.png", "../a.png", "/a.png", "x/../a.png"])
def test_two_members_of_one_name_are_an_error_and_none_is_lost(tmp_path, other):
    twice = pytest.warns(UserWarning, match="Duplicate") if other == "a.png" else nullcontext()
    with twice, zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name in ("a.png", "b.png", other):
            archive.writestr(name, png())
    source = open_source(tmp_path / "data.zip")
    if other.startswith("x/"):
        assert source.names == ["a.png", "b.png", "x/a.png"]
        return
    with pytest.raises(DataError, match=r"data\.zip holds two files a\.png"):
        len(source)


def test_a_reason_of_thousands_of_letters_is_cut_short(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"a.png": png(), "b.png": bytes(4_000)})
    content = bytearray(path.read_bytes())
    content[content.index(b"a.png") - 4] = 0xFF  # the member's own name is 255 letters long and more, says its header
    content[content.index(b"a.png") - 3] = 0x05
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png cannot be read: File name in directory") as error:
        open_source(path)[0]
    assert len(error.value.message) < 1_000
    assert error.value.message.isprintable()


def test_a_member_without_a_name_is_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("\0.png"), png(2))  # a name ends before the first zero
        archive.writestr("a.png", png(3))
    assert greys(open_source(tmp_path / "data.zip")) == [3]


def test_a_link_in_a_zip_is_an_error_that_names_it(tmp_path):
    link = zipfile.ZipInfo("b.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("a.png", png(1))
        archive.writestr(link, "../../../etc/passwd")
    source = open_source(tmp_path / "data.zip")
    assert source[0].getpixel((0, 0)) == 1
    with pytest.raises(DataError, match=r"data\.zip/b\.png: links in a zip are unsupported"):
        source[1]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_bound_are_refused(tmp_path, method):
    source = open_source(write_zip(tmp_path / "data.zip", {"a.png": png()}, compression=method))
    with pytest.raises(DataError, match=r"a\.png: unsupported compression"):
        source[0]


def test_a_member_that_unpacks_to_hundreds_of_times_its_size_is_not_unpacked(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "data.zip", {"a.png": png() + bytes(40 << 20)}, compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("opened"))
    with pytest.raises(DataError, match="bytes unpack to 40 MiB; suspected zip bomb"):
        open_source(path)[0]


def test_members_that_share_their_bytes_are_an_error(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"a.png": png() + bytes(2_000)})
    content = path.read_bytes()
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry = content[start:end]
    entries = b"".join(entry.replace(b"a.png", f"{letter}.png".encode()) for letter in "abcdefgh")
    counts = struct.pack("<HHHHIIH", 0, 0, 8, 8, len(entries), start, 0)
    path.write_bytes(content[:start] + entries + b"PK\5\6" + counts)
    with pytest.raises(DataError, match="its members exceed the file size"):
        len(open_source(path))


def test_a_directory_that_claims_more_members_than_there_are_is_no_matter(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"a.png": png(5)})
    content = bytearray(path.read_bytes())
    end = content.index(b"PK\5\6")
    content[end + 8 : end + 12] = b"\xfe\xff\xfe\xff"
    path.write_bytes(content)
    assert greys(open_source(path)) == [5]


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
    with pytest.raises(DataError, match=r"a\.png: 600 MiB exceed the limit"):
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
        np.zeros((5, 6, 7), np.int16),
        np.zeros((5, 6), np.uint8),
        np.zeros((5, 6), np.int64),
        np.zeros((5, 8, 8, 8), np.uint8),
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


def write_header(path, shape, dtype="|u1", content=b""):
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
        file.write(content)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 10**6, 10**6),
        (2**32, 2**32, 1),
        (2**62, 4, 4),
        (10**30, 2, 2),
        (0, 2**70, 3),
        (-1, 4, 4),
        (2, -4, -4),
    ],
    ids=str,
)
def test_a_header_is_believed_as_far_as_the_file_bears_it_out(tmp_path, monkeypatch, shape):
    write_header(tmp_path / "a.npy", shape, content=bytes(64))
    monkeypatch.setattr(np, "memmap", lambda *_, **__: pytest.fail("mapped"))
    with pytest.raises(DataError, match=r"a\.npy: invalid \.npy file|a\.npy: the array is empty"):
        len(open_source(tmp_path / "a.npy"))


def test_an_example_larger_than_any_picture_is_an_error(tmp_path):
    write_header(tmp_path / "a.npy", (4, 100_000, 100_000))
    with (tmp_path / "a.npy").open("ab") as file:
        file.truncate(file.tell() + 4 * 10**10)  # holes take no place on a disk
    with pytest.raises(DataError, match=r"examples \[100000, 100000\] are too large"):
        len(open_source(tmp_path / "a.npy"))


@pytest.mark.parametrize(
    "start",
    [b"\x02\x00\xff\xff\xff\xff{", b"\x01\x00\x10\x27" + b"(" * 10_000, b"\x03\x00\x02\x00\x00\x00{}", b"\x63\x00"],
    ids=["longer than the file", "nested", "of named fields", "of no version"],
)
def test_a_monstrous_header_is_an_error(tmp_path, start):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY" + start)
    with pytest.raises(DataError, match=r"a\.npy: invalid \.npy file") as error:
        len(open_source(tmp_path / "a.npy"))
    assert len(error.value.message) < 400


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
