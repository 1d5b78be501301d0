"""Shards as a data set: what they hold, where they lie, what is wrong with them, and training from them."""

import http.server
import io
import shutil
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from functools import partial

import ganforge
import numpy as np
import pytest
import webdataset
from ganforge import DataError, OptionError
from ganforge.testing import check_dataset
from PIL import Image

from ganforge_webdataset import Shards, shard_files


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shard_files, "_WAITS", (0.0, 0.0))


def pixels(number, size=8):
    return np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)


def picture(number, kind="png", size=8):
    stream = io.BytesIO()
    Image.fromarray(pixels(number, size)).save(stream, kind)
    return stream.getvalue()


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_shards(folder, shards=3, each=5, **member):
    """Numbered samples with a picture and, by default, a class in numbers."""
    makers = member or {"cls": lambda number: str(number % 2).encode()}
    for shard in range(shards):
        numbers = range(shard * each, (shard + 1) * each)
        write_tar(
            folder / f"train-{shard:04d}.tar",
            [
                (f"{number:06d}.{extension}", make(number))
                for number in numbers
                for extension, make in {"png": picture, **makers}.items()
            ],
        )
    return str(folder / f"train-{{0000..{shards - 1:04d}}}.tar")


# ---- what shards hold ----


def test_samples_come_in_the_order_of_the_shards_with_their_classes(tmp_path):
    data = Shards(shards=write_shards(tmp_path))
    assert len(data) == 15
    for number in (14, 0, 7, 5, 4):  # in any order
        image, label = data[number]
        assert np.array_equal(np.asarray(image), pixels(number))
        assert label == number % 2
        assert data.example_shape(number) == (8, 8, 3)
    assert data.example_name(7) == f"{tmp_path}/train-0001.tar/000007.png"
    check_dataset(Shards, shards=write_shards(tmp_path))


def test_a_folder_of_shards_will_do(tmp_path):
    write_shards(tmp_path / "set")
    (tmp_path / "set" / "README").write_text("no shard")
    assert len(Shards(shards=str(tmp_path / "set"))) == 15


def test_what_webdataset_itself_writes_is_read(tmp_path):
    with webdataset.ShardWriter(f"file:{tmp_path}/w-%06d.tar", maxcount=4, verbose=0) as writer:
        for number in range(10):
            kind = {"kind": {"of": "ab"[number % 2]}}
            writer.write({"__key__": f"a/{number:03d}", "png": pixels(number), "cls": number % 3, "json": kind})
    data = Shards(shards=f"{tmp_path}/w-{{000000..000002}}.tar")
    assert [data[number][1] for number in range(10)] == [number % 3 for number in range(10)]
    assert np.array_equal(np.asarray(data[9][0]), pixels(9))
    named = Shards(shards=f"{tmp_path}/w-{{000000..000002}}.tar", label="json.kind.of")
    assert named.class_names == ("a", "b")
    assert [named[number][1] for number in (0, 1, 9)] == [0, 1, 1]


def test_samples_without_classes_have_none(tmp_path):
    data = Shards(shards=write_shards(tmp_path, txt=lambda number: b"a caption"))
    assert isinstance(data[3], Image.Image)
    assert data.class_names == ()


def test_one_of_several_pictures_is_chosen_by_its_extension(tmp_path):
    shards = write_shards(tmp_path, **{"mask.png": lambda number: picture(100 + number)})
    with pytest.raises(DataError, match="train-0000.tar/000000 holds the images png, mask.png") as error:
        len(Shards(shards=shards))
    assert error.value.hint == "--set data.image=png"
    assert np.array_equal(np.asarray(Shards(shards=shards, image="mask.png")[2]), pixels(102))


def test_what_is_no_sample_is_passed_over(tmp_path):
    none = [(name, b"") for name in ("._a.jpg", "README", "d/.hidden.png")]
    members = [("./a.JPG", picture(1, "jpeg")), *none, ("b.jpg", picture(2, "jpeg"))]
    assert len(Shards(shards=str(write_tar(tmp_path / "one.tar", members)))) == 2


# ---- what is wrong with them ----


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not an intact tar file: empty file"),
        (b"<html>not found</html>" * 100, "is not an intact tar file: "),
        (b"\x1f\x8b\x08 and so on", "is compressed by gzip"),
    ],
)
def test_what_is_no_tar_is_named(tmp_path, content, reason):
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(DataError, match=f"x.tar {reason}"):
        len(Shards(shards=str(tmp_path / "x.tar")))


def test_a_shard_cut_off_anywhere_is_an_error(tmp_path):
    whole = write_tar(tmp_path / "x.tar", [(f"{number}.png", picture(number)) for number in range(4)]).read_bytes()
    used = len(whole.rstrip(b"\0"))
    for end in [*range(1, used, 97), *range(512, used, 512), used - used % 512 + 512]:
        (tmp_path / "x.tar").write_bytes(whole[:end])
        with pytest.raises(DataError, match="x.tar.* is not an intact tar file"):
            len(Shards(shards=str(tmp_path / "x.tar")))


@pytest.mark.parametrize(
    ("members", "options", "reason"),
    [
        ([("a.txt", b"words")], {}, "x.tar/a holds no image, but txt"),
        ([("a.png", picture(0))], {"image": "jpg"}, "x.tar/a holds no jpg, but png"),
        ([("a.png", picture(0)), ("a.cls", b"0"), ("b.png", picture(0))], {}, "1 of 2 samples have no label"),
        ([("a.png", picture(0))], {"label": "txt"}, "x.tar/a has no txt, but png"),
        ([("a.png", picture(0)), ("a.cls", b"\xff\xfe")], {}, "a.cls is not valid text"),
        ([("a.png", picture(0)), ("a.cls", b"")], {}, "a.cls holds no class"),
        ([("a.png", picture(0)), ("a.json", b"{")], {"label": "json.c"}, "a.json is not valid JSON"),
        ([("a.png", picture(0)), ("a.json", b"[" * 10**5)], {"label": "json.c"}, "a.json is not valid JSON"),
        ([("a.png", picture(0)), ("a.json", b"{}")], {"label": "json.c"}, "a.json has no field 'c'"),
        ([("a.png", picture(0)), ("a.json", b'{"c": 1.5}')], {"label": "json.c"}, "a.json holds no class"),
        ([("a.png", picture(0)), ("a.json", b'{"c": -1}')], {"label": "json.c"}, "a.json holds no class"),
        ([("a.png", picture(0)), ("a.txt", b"words " * 50)], {"label": "txt"}, "a.txt holds no class"),
        ([("README", b"")], {}, "x.tar holds no samples"),
    ],
)
def test_what_is_missing_or_wrong_in_a_sample_is_named(tmp_path, members, options, reason):
    with pytest.raises(DataError, match=reason):
        len(Shards(shards=str(write_tar(tmp_path / "x.tar", members)), **options))


def test_shards_that_are_not_there_are_named(tmp_path):
    with pytest.raises(OptionError, match="'webdataset': no shards"):
        Shards()
    with pytest.raises(OptionError, match="unbalanced brace"):
        Shards(shards="train-{0..3.tar")
    with pytest.raises(DataError, match="holds no shards"):
        Shards(shards=str(tmp_path))
    with pytest.raises(DataError, match="nowhere.tar: No such file"):
        Shards(shards=str(tmp_path / "nowhere.tar")).cache_key()
    with pytest.raises(DataError, match="nowhere.tar cannot be read: No such file"):
        len(Shards(shards=str(tmp_path / "nowhere.tar")))


def test_the_key_changes_with_files_and_options(tmp_path):
    shards = write_shards(tmp_path)
    keys = [Shards(shards=shards).cache_key(), Shards(shards=shards, version="2").cache_key()]
    write_shards(tmp_path, each=6)
    keys.append(Shards(shards=shards).cache_key())
    assert len(set(keys)) == 3
    assert Shards(shards=shards).cache_key() == keys[2]


# ---- behind an address ----


@pytest.fixture
def served(tmp_path):
    """An address of three shards, and the number of requests of each."""
    asked = Counter()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked[self.path] += 1
            super().do_GET()

        def log_message(self, *_):
            """Nothing."""

    write_shards(tmp_path / "web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "web"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/train-{{0000..0002}}.tar", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("keep", "times", "left"), [(False, 2, 0), (True, 1, 3)])
def test_shards_behind_an_address_are_streamed_or_kept(served, tmp_path, monkeypatch, keep, times, left):
    monkeypatch.setattr(shard_files, "_MOST_COPIES", 1)
    address, asked = served
    data = Shards(shards=address, keep=keep)
    cache = tmp_path / "cache/downloads/webdataset"
    for number in range(len(data)):
        image, label = data[number]
        assert np.array_equal(np.asarray(image), pixels(number))
        assert label == number % 2
        assert len(list(cache.rglob("*.tar"))) <= (3 if keep else 1)
    assert set(asked.values()) == {times}
    assert len(asked) == 3
    del data, image
    assert len(list(cache.rglob("*.tar"))) == left
    assert not list(cache.rglob("*.partial"))


def test_other_places_are_reached_through_fsspec(tmp_path):
    import fsspec

    write_shards(tmp_path / "web", shards=1)
    fsspec.filesystem("memory").put_file(str(tmp_path / "web/train-0000.tar"), "/far/train-0000.tar")
    assert len(Shards(shards="memory://far/train-0000.tar")) == 5


def test_a_shard_that_is_not_served_is_named_without_its_secret(served):
    address = served[0].replace("{0000..0002}", "0009") + "?signature=secret"
    with pytest.raises(DataError, match=r"train-0009\.tar: shard not found") as error:
        len(Shards(shards=address))
    assert "secret" not in str(error.value)
    assert "secret" not in Shards(shards=address).cache_key()


def test_a_transfer_that_breaks_off_is_tried_again_and_then_told(tmp_path, monkeypatch):
    write_shards(tmp_path / "web", shards=1)
    tries = []

    class Broken:
        def get_file(self, name, path):
            tries.append(name)
            if len(tries) % 3:
                raise ConnectionResetError("it broke off")
            shutil.copy(tmp_path / "web/train-0000.tar", path)

    monkeypatch.setattr(shard_files.fsspec, "url_to_fs", lambda place, **_: (Broken(), place))
    assert len(Shards(shards="far://train.tar")) == 5
    assert len(tries) == 3
    monkeypatch.setattr(shard_files, "_WAITS", (0.0,))
    with pytest.raises(DataError, match=r"far://train\.tar cannot be downloaded: it broke off"):
        len(Shards(shards="far://train.tar"))


def test_an_address_of_an_unknown_kind_is_one_line():
    with pytest.raises(DataError, match=r"nowhere://x\.tar cannot be downloaded: Protocol not known"):
        len(Shards(shards="nowhere://x.tar"))


# ---- training ----

TINY = {
    "training.batch": 8, "training.samples": 4, "training.engine": "eager", "training.precision": "float32",
    "training.threads": 1, "generator.width": 4, "discriminator.width": 4,
}  # fmt: skip


def train(shards, images, out):
    return ganforge.train(
        arch="dcgan", data="webdataset", resolution=16, images=images, device="cpu", out=out,
        settings={**TINY, "data.shards": shards}, quiet=True,
    )  # fmt: skip


def test_a_run_goes_on_exactly_after_the_shards_are_gone(served, tmp_path):
    whole = train(served[0], 64, tmp_path / "whole")
    asked = dict(served[1])
    half = train(served[0], 32, tmp_path / "halves")
    shutil.rmtree(tmp_path / "web")
    half = half.resume(images=64, quiet=True)
    assert dict(served[1]) == asked  # packed data served all but the first start
    assert (half.path / "generator.safetensors").read_bytes() == (whole.path / "generator.safetensors").read_bytes()
    assert whole.config["data"]["shards"] == served[0]


@pytest.mark.slow
def test_a_bad_picture_is_named_or_left_out(tmp_path):
    members = [(f"{number:02d}.png", picture(number)) for number in range(20)]
    members[7] = ("07.png", members[7][1][:-30])  # its header is sound
    members[9] = ("09.png", b"<html>")
    write_tar(tmp_path / "x.tar", members)
    words = [sys.executable, "-m", "ganforge", "data", "pack", "webdataset", "--set", "data.shards=x.tar"]
    told = subprocess.run([*words, "packed"], capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 2
    assert told.stderr.startswith("error: x.tar/09.png: this is a web page")
    told = subprocess.run([*words, "packed", "--skip-bad"], capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "skipped 2 of 20" in told.stderr
    assert "x.tar/07.png: cannot be decoded" in told.stderr
