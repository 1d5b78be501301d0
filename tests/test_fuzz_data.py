"""Whatever lies in a file that is given as data: it is packed, or refused in one line, and never takes much memory.

``GANFORGE_FUZZ=5000 pytest tests/test_fuzz_data.py`` tries so many inputs in each test instead of a few.
"""

import io
import json
import resource
import struct
import sys
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganforge.contract.errors import GanforgeError, PluginError
from ganforge.data import PackedData, open_data
from ganforge.data.check import check_data

MOST_BYTES = 300 << 20
"""More memory than this beside that of the start, and something was believed that should not be."""


@pytest.fixture(scope="module", autouse=True)
def tight_limits():
    """Limits for what is small: a picture that is larger must be refused, so it cannot excuse any use of memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 1 << 18)
        patch.setattr("ganforge.data.files.LARGEST_FILE", 1 << 20)
        patch.setattr("ganforge.data.sources.LARGEST_EXAMPLE", 1 << 20)
        yield


def peak():
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def attempt(function):
    """Result, or error message."""
    before = peak()
    result = refusal = None
    try:
        result = function()
    except GanforgeError as error:
        refusal = error
    assert peak() - before < MOST_BYTES
    if refusal:
        assert not isinstance(refusal, PluginError)
        assert refusal.message.isprintable()
        assert len(refusal.message) < 1_000
    return result, refusal


def judge(path, home):
    """All that may be done with data; a check says what packing then does."""
    for skip_bad in (False, True):
        data, error = attempt(lambda skip_bad=skip_bad: open_data(str(path), cache=home / "cache", skip_bad=skip_bad))
        report, refusal = attempt(lambda skip_bad=skip_bad: check_data(path, skip_bad=skip_bad))
        assert (report is not None and report.usable) is (error is None), (error, refusal or report)
        assert all(line.isprintable() for line in (report.unreadable if report else {}))
        if data is not None:
            assert data.is_intact()
            assert data.examples.numel() > 0
            json.dumps(data.origin).encode()
    attempt(lambda: open_data(str(path), cache=home / "cache", resolution=8, skip_bad=True))


# ---- what is written ----


def encode(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def pictures():
    """A small file of each format and mode."""
    source = np.random.default_rng(0)
    colour = Image.fromarray(source.integers(0, 256, (9, 7, 3), np.uint8))
    grey, alpha = colour.convert("L"), colour.convert("RGBA")
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(source.integers(0, 65_536, (9, 7)).astype(np.uint16))
    yield from (encode(image, "PNG") for image in (colour, grey, alpha, deep, colour.convert("P"), grey.convert("1")))
    yield encode(colour.convert("P"), "PNG", transparency=bytes(range(64)))
    yield encode(colour, "PNG", exif=exif, save_all=True, append_images=[colour])
    yield from (encode(image, "JPEG") for image in (colour, grey, colour.convert("CMYK")))
    yield encode(colour, "JPEG", progressive=True, exif=exif)
    yield encode(colour.convert("P"), "GIF", save_all=True, append_images=[grey.convert("P")])
    yield from (encode(image, "BMP") for image in (colour, colour.convert("P"), alpha))
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "jpeg"):
        yield encode(grey.convert("1") if compression == "group4" else colour, "TIFF", compression=compression)
    yield encode(Image.fromarray(source.random((9, 7), np.float32)), "TIFF")
    yield from (encode(alpha, "WEBP", lossless=True), encode(colour, "WEBP", save_all=True, append_images=[colour]))
    yield from (encode(colour, "AVIF"), encode(colour, "PPM"), encode(deep, "PPM"), encode(colour, "JPEG2000"))
    yield b"P3 2 1 255 0 1 2 3 4 5"


PICTURES = list(pictures())
SMALL = PICTURES[0]


def pack_zip(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def save_array(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


LABELS = json.dumps({"labels": [["a.png", 0], ["b.png", 1]]}).encode()
ZIPS = [
    pack_zip([("a.png", SMALL)]),
    pack_zip([("cat/a.png", SMALL), ("cat/b.jpg", PICTURES[8]), ("dog/c.gif", PICTURES[12])]),
    pack_zip([("x/a.png", SMALL), ("x/b.png", PICTURES[1]), ("x/dataset.json", LABELS)]),
    pack_zip([("inner.zip", pack_zip([("a.png", SMALL)])), ("a.txt", b"")]),
    pack_zip([]),
]
ARRAYS = [
    save_array(np.zeros((3, 4, 5), np.uint8)),
    save_array(np.zeros((3, 4, 5, 3), np.uint8)),
    save_array(np.asfortranarray(np.arange(72, dtype=np.uint8).reshape(3, 3, 4, 2).repeat(2, axis=3))),
    save_array(np.linspace(0, 1, 6, dtype=">f4").reshape(3, 2)),
    save_array(np.array([{}], dtype=object)),
    save_array(np.zeros(3, dtype=[("a", "<f4"), ("b", "u1", (2, 2))])),
]


# ---- what becomes of it ----

EXTREMES = [
    b"\0" * 4,
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\x7f\xff\xff\xff",
    b"\0\1\0\0",
    b"\xff" * 8,
    b"\x80",
    b"PK\1\2",
]


@st.composite
def mutated(draw, originals, most=6):
    """Bytes of an original, with a few places overwritten, inserted, removed, doubled or cut off."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, most))):
        place = draw(st.integers(0, max(0, len(content))))
        piece = draw(st.sampled_from(EXTREMES) | st.binary(min_size=1, max_size=4))
        match draw(st.sampled_from(["write", "write", "insert", "remove", "double", "cut", "splice"])):
            case "write":
                content[place : place + len(piece)] = piece
            case "insert":
                content[place:place] = piece
            case "remove":
                del content[place : place + draw(st.integers(1, 16))]
            case "double":
                content[place:place] = content[place : place + draw(st.integers(1, 64))] * draw(st.integers(1, 8))
            case "cut":
                del content[place:]
            case "splice":
                content[place:] = draw(st.sampled_from(originals))[place:]
    return bytes(content)


def mend_png(content):
    """Make the checks of a PNG's chunks right again, or its readers stop at the first."""
    whole, place = bytearray(content), 8
    while place + 12 <= len(whole):
        stop = place + 8 + int.from_bytes(whole[place : place + 4], "big")
        if stop + 4 > len(whole):
            break
        whole[stop : stop + 4] = struct.pack(">I", zlib.crc32(whole[place + 4 : stop]))
        place = stop + 4
    return bytes(whole)


@fuzz(100)
@given(mutated(PICTURES) | st.binary(max_size=64), st.booleans(), st.integers(1, 12))
def test_any_bytes_may_be_called_a_picture(content, mended, others):
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data").mkdir()
        (home / "data" / "a.png").write_bytes(mend_png(content) if mended else content)
        for index in range(others):
            (home / "data" / f"b{index}.png").write_bytes(SMALL)
        judge(home / "data", home)


@fuzz(100)
@given(mutated(ZIPS))
def test_any_bytes_may_be_called_a_zip(content):
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data.zip").write_bytes(content)
        judge(home / "data.zip", home)


NAMES = st.text(st.sampled_from("ab/.\\:0129\u0661\u00e9\ud7ff\n\x1b\0") | st.characters(codec="utf-8"), max_size=12)
MEMBERS = st.tuples(
    st.builds(str.__add__, NAMES, st.sampled_from([".png", ".PNG", "/", ".zip", "", "/dataset.json"])),
    st.sampled_from([SMALL, PICTURES[1], b"", LABELS, ZIPS[0], b"../../x.png"]),
)


@fuzz(100)
@given(st.lists(MEMBERS, max_size=8, unique_by=lambda member: member[0]), st.integers(0, 0o177777))
def test_any_names_and_kinds_may_be_in_a_zip(members, mode):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings(action="ignore"):  # of names that are doubled
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data.zip").write_bytes(stream.getvalue())
        judge(home / "data.zip", home)
        assert {path.name for path in home.iterdir()} <= {"data.zip", "cache"}


@fuzz(100)
@given(mutated(ARRAYS))
def test_any_bytes_may_be_called_an_array(content):
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data.npy").write_bytes(content)
        judge(home / "data.npy", home)


SIZES = st.integers(-1, 6) | st.sampled_from([2**20, 2**31, 2**32, 2**63, 2**64, 10**30])
TYPES = st.sampled_from(
    ["|u1", "<f4", ">f4", "<f2", "<f8", "<i8", "|b1", "<c8", "|O", "|V0", "|S0", "<U1", "<M8[s]", "?"]
)


@fuzz(100)
@given(st.lists(SIZES, max_size=6), TYPES, st.booleans(), st.integers(0, 600), st.floats(width=32))
def test_a_header_may_claim_any_array(shape, dtype, by_columns, length, number):
    header = f"{{'descr': {dtype!r}, 'fortran_order': {by_columns}, 'shape': {tuple(shape)}}}".encode()
    content = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + (struct.pack("<f", number) * length)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data.npy").write_bytes(content)
        judge(home / "data.npy", home)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["a.png", "b.png", "labels", 0, 1])
    | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.just("labels"), inner, max_size=3),
    max_leaves=8,
)
PAIRS = st.lists(st.tuples(st.sampled_from(["a.png", "b.png"]) | JSON, st.integers(-1, 2) | JSON), max_size=4)


def write(tree):
    return json.dumps(tree).encode()


@fuzz(100)
@given(mutated([LABELS]) | JSON.map(write) | st.builds(lambda labels: write({"labels": labels}), JSON | PAIRS))
def test_any_bytes_may_be_called_a_label_list(content):
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data").mkdir()
        for name in ("a.png", "b.png", "c/a.png")[: 2 + len(content) % 2]:
            (home / "data" / name).parent.mkdir(exist_ok=True)
            (home / "data" / name).write_bytes(SMALL)
        (home / "data" / "dataset.json").write_bytes(content)
        judge(home / "data", home)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The files of a packed folder."""
    root = tmp_path_factory.mktemp("packed")
    (root / "data.zip").write_bytes(ZIPS[1])
    open_data(str(root / "data.zip")).save(root / "packed")
    return {path.name: path.read_bytes() for path in (root / "packed").iterdir()}


KEYS = st.sampled_from(["format", "name", "shape", "dtype", "class_names", "fingerprint", "origin"])


@fuzz(100)
@given(st.data())
def test_any_bytes_may_be_in_a_packed_folder(packed, data):
    files = dict(packed)
    manifest = json.loads(files["manifest.json"])
    manifest |= data.draw(st.dictionaries(KEYS, JSON | st.just(manifest["shape"]), max_size=1))
    files["manifest.json"] = write(manifest)
    name = data.draw(st.sampled_from(sorted(files)))
    files[name] = data.draw(mutated([files[name]], most=2))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data").mkdir()
        for name, content in files.items():
            (home / "data" / name).write_bytes(content)
        opened, _ = attempt(lambda: open_data(str(home / "data"), cache=home / "cache"))
        report, _ = attempt(lambda: check_data(home / "data"))
        if report is not None and report.usable:
            assert opened is not None
            assert opened.is_intact()
        attempt(lambda: open_data(str(home / "data"), cache=home / "cache", resolution=8))
        if opened is not None and attempt(lambda: opened.save(home / "copy"))[1] is None:
            assert PackedData.load(home / "copy").class_names == opened.class_names
