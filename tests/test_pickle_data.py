"""Pickles are read as data: nothing that a file names is imported or called, whatever the file holds."""

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict

import pytest
import torch

from ganforge import CheckpointError, PickledFile, StoredTensor, read_pickle

WATCHED = ("import", "compile", "exec", "subprocess", "os.", "shutil", "socket", "ctypes", "pickle.", "marshal", "webb")
seen, watching = [], []


def watch(event, args):
    elsewhere = event == "open" and str(args[0]) != str(watching and watching[0]) and not isinstance(args[0], int)
    if watching and (event.startswith(WATCHED) or elsewhere):
        seen.append((event, args))


def text(value):
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def call(module, name, *args, code=b"R"):
    """A protocol 2 pickle that calls a function with texts."""
    return b"\x80\2" + b"c%s\n%s\n(" % (module.encode(), name.encode()) + b"".join(map(text, args)) + b"t" + code + b"."


def nested(content):
    return b"\x80\3ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(content)) + content + b"\x85R."


def archive(content, compression=zipfile.ZIP_STORED, **others):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, each in {"data.pkl": content, **others}.items():
            opened.writestr(f"archive/{name}", each)
    return file.getvalue()


def saved(value, zipped=True):
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


STORAGE = b"\x80\2(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\4tQ"
TOUCH = text("touch touched")
OLDER = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
BOMB = call("os", "system", "touch touched")


def tensor(offset_size_strides, data=b"x" * 16):
    rebuild = b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE[2:] + offset_size_strides + b"\x89}tR."
    return archive(rebuild, **{"data/0": data})


MALICIOUS = {
    "reduce": BOMB,
    "reduce of protocol 0": b"cos\nsystem\n(S'touch touched'\ntR.",
    "reduce of protocol 4": b"\x80\4\x8c\5posix\x8c\6system\x93\x8c\rtouch touched\x85R.",
    "newobj": call("subprocess", "Popen", "touch touched", code=b"\x81"),
    "newobj with options": b"\x80\4csubprocess\nPopen\n)}" + text("args") + TOUCH + b"s\x92.",
    "obj": b"(cos\nsystem\nS'touch touched'\no.",
    "inst": b"(S'touch touched'\nios\nsystem\n.",
    "build": b"\x80\2cbuiltins\nException\n)R}" + text("__setstate__") + b"cos\nsystem\nsb" + text("x") + b"b.",
    "build of a slot": b"\x80\2cbuiltins\nException\n)R}}" + text("__class__") + b"cos\nsystem\ns\x86b.",
    "global of a module that prints": b"cthis\ns\n.",
    "global of a module that opens a browser": b"cantigravity\nfly\n.",
    "dotted global": b"\x80\4" + text("os") + text("path.os.system") + b"\x93" + TOUCH + b"\x85R.",
    "eval": call("builtins", "eval", "open('touched', 'w')"),
    "exec": call("builtins", "exec", "open('touched', 'w')"),
    "import": call("builtins", "__import__", "antigravity"),
    "getattr": b"\x80\2cbuiltins\ngetattr\n(cos\nsystem\n" + text("__call__") + b"tR" + TOUCH + b"\x85R.",
    "open": call("builtins", "open", "touched", "w"),
    "io.open": call("_io", "open", "touched", "w"),
    "map": b"\x80\2cbuiltins\nlist\n(cbuiltins\nmap\n(cos\nsystem\n(" + TOUCH + b"lttRtR.",
    "torch.load": call("torch", "load", "other.pt"),
    "torch.hub": call("torch.hub", "load", "someone/something", "model"),
    "numpy.load": call("numpy", "load", "other.npy"),
    "pickle.loads": b"\x80\3cpickle\nloads\nB" + struct.pack("<I", len(BOMB)) + BOMB + b"\x85R.",
    "marshal": call("marshal", "loads", "x"),
    "a codec that decompresses": call("_codecs", "encode", "x", "bz2_codec"),
    "a library": call("ctypes", "CDLL", "libc.so.6"),
    "a socket": call("socket", "create_connection", "localhost"),
    "removal": call("shutil", "rmtree", "."),
    "source code of a class": b"\x80\2ctorch_utils.persistence\n_reconstruct_persistent_obj\n}("
    + text("type") + text("class") + text("module_src") + text("open('touched', 'w')") + b"u\x85R.",
    "nested plain": nested(BOMB),
    "nested zip": nested(archive(BOMB)),
    "nested older form": nested(OLDER + BOMB),
    "older form": OLDER + pickle.dumps({"little_endian": True}, 2) + BOMB,
    "zip": archive(BOMB),
    "persistent identifier": b"P0\n.",
    "persistent identifier of a call": b"\x80\2cos\nsystem\nQ.",
    "persistent identifier of another storage": archive(
        b"\x80\2(" + text("storage") + b"cos\nsystem\n" + text("0") + text("cpu") + b"K\1tQ."
    ),
    "extension 1": b"\x80\2\x82\1)R.",
    "extension 2": b"\x80\2\x83\1\0)R.",
    "extension 4": b"\x80\2\x84\1\0\0\0)R.",
    "memo: never set": b"\x80\2h\7.",
    "memo: far": b"\x80\2Nr\xff\xff\xff\xff.",
    "memo: a safe name replaced": b"ccollections\nOrderedDict\nq\0cos\nsystem\nq\0h\0(" + TOUCH + b"tR.",
    "out of band": b"\x80\5\x97.",
    "read-only": b"\x80\5N\x98.",
    "call of a text": b"\x80\2" + text("os.system") + TOUCH + b"\x85R.",
    "attributes of a dict": b"\x80\2ccollections\nOrderedDict\n)R}" + text("__reduce__") + b"cos\nsystem\nsb.",
}  # fmt: skip
"""Pickles that would do something if they were executed."""

GREEDY = {
    "many opcodes": b"\x80\2N" + b"2" * 600_000 + b".",
    "deep marks": b"\x80\2" + b"(" * 5000 + b".",
    "long text": b"\x80\4\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
    "long bytes": b"\x80\4\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
    "long number": b"\x80\2\x8b" + struct.pack("<i", 1 << 16) + b"\1" * (1 << 16) + b".",
    "long decimal": b"L" + b"9" * 100_000 + b"L\n.",
    "negative length": b"\x80\2\x8b\xff\xff\xff\xff.",
    "a key that hashes for years": b"\x80\2}N\x85q\0" + b"2\x86" * 60 + b"Ns.",
    "a set that hashes for years": b"\x80\4\x8f(N\x85" + b"2\x86" * 60 + b"\x90.",
    "a list as a key": b"\x80\2}]Ns.",
    "a class without a name": b"\x80\4N" + text("x") + b"\x93.",
    "a tensor beyond its storage": tensor(b"K\0K\5\x85K\1\x85"),
    "a tensor that is expanded": tensor(b"K\0J\xff\xff\xff\x7f\x85K\0\x85"),
    "a tensor before its storage": tensor(b"J\xff\xff\xff\xffK\1\x85K\1\x85"),
    "a storage that is cut off": tensor(b"K\0K\1\x85K\1\x85", b"x" * 15),
    "compressed": archive(BOMB, zipfile.ZIP_DEFLATED),
    "nested five times": nested(nested(nested(nested(nested(b"N."))))),
    "nested a hundred times": b"\x80\3ctorch.storage\n_load_from_bytes\nq\0B\0\1\0\0N." + b" " * 254 + b"q\1"
    + b"h\0h\1\x85R0" * 900 + b"N.",
    "invalid text": b"\x80\2X\1\0\0\0\xff.",
    "no end": b"\x80\2N",
    "nothing": b"",
    "an empty stack": b"\x80\2.",
    "text": b"no pickle",
}  # fmt: skip
"""Files that are refused, without much time or memory."""


@pytest.fixture(scope="module", autouse=True)
def warmed(tmp_path_factory):
    """Import what reading any file imports on its first call."""
    file = tmp_path_factory.mktemp("warm") / "file"
    for content in (saved(torch.ones(2)), saved(torch.ones(2), zipped=False), b"V\\u0041\n."):
        file.write_bytes(content)
        read_pickle(file)
    sys.addaudithook(watch)


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(content):
        (tmp_path / "file").write_bytes(content)
        return read_pickle(tmp_path / "file").content

    return read


@pytest.mark.parametrize("name", MALICIOUS)
def test_nothing_of_a_pickle_is_executed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    file, before = tmp_path / "file", {*sys.modules}
    file.write_bytes(MALICIOUS[name])
    seen.clear()
    watching.append(file)
    try:
        found = read_pickle(file)
    except CheckpointError as error:
        found = error
    finally:
        watching.clear()
    assert seen == []
    assert {*sys.modules} == before
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert isinstance(found, CheckpointError | PickledFile)


@pytest.mark.parametrize("name", GREEDY)
def test_a_file_that_is_damaged_or_greedy_is_refused_in_one_line(read, name):
    with pytest.raises(CheckpointError) as caught:
        read(GREEDY[name])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_hook_sees_what_unpickling_does(tmp_path):
    seen.clear()
    watching.append(tmp_path)
    try:
        pickle.loads(b"cos\nsystem\n(S'true'\ntR.")
    finally:
        watching.clear()
    assert {event for event, _ in seen} >= {"pickle.find_class", "os.system"}


def test_a_graph_that_contains_itself_is_read(read):
    found = read(b"\x80\2]q\0h\0a.")
    assert found[0] is found
    found = read(b"\x80\2}q\0" + text("self") + b"h\0s.")
    assert found["self"] is found


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).view(3, 4).T,
        torch.arange(5)[2:],
        torch.tensor(3.5, dtype=torch.float64),
        torch.zeros(0, 3),
        torch.ones(2, 2, dtype=torch.float16),
        torch.tensor([True, False]),
        torch.ones(3, 1).expand(3, 1),
    ],
)
def test_tensors_of_torch_save_are_read(read, tensor, zipped):
    value = OrderedDict(weights=tensor, parameter=torch.nn.Parameter(torch.ones(3)), more=[1, (2.5, None), {"x": b"y"}])
    found = read(saved(value, zipped))
    assert isinstance(found["weights"], StoredTensor)
    assert torch.equal(found["weights"].load(), tensor)
    assert found["weights"].load().dtype == tensor.dtype
    assert found["parameter"].shape == (3,)
    assert found["more"] == [1, (2.5, None), {"x": b"y"}]


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_each_protocol_are_read(read, protocol):
    import numpy

    value = {
        "text": "ä\n", "whole": -(2**70), "number": 0.1, "bytes": b"\0\xff", "set": {1}, "tuple": (1, 2, 3, 4, [()]),
        "numpy": numpy.float64(0.3), "tensor": torch.arange(4.0), "size": torch.Size([2]), "none": [None, True, False],
    }  # fmt: skip
    found = read(pickle.dumps(value, protocol))
    assert torch.equal(found.pop("tensor").load(), value.pop("tensor"))
    assert found == value


def test_objects_are_records_of_their_arguments_and_state(read, tmp_path):
    from datetime import date
    from pathlib import PurePosixPath

    class_of_own = type("Own", (dict,), {"__module__": __name__, "__qualname__": "Own"})
    globals()["Own"] = class_of_own
    own = class_of_own(a=1)
    own.attribute = 2
    found = read(pickle.dumps([date(2026, 1, 2), PurePosixPath("a/b"), own], 2))
    assert [each.name for each in found] == ["datetime.date", "pathlib.PurePosixPath", f"{__name__}.Own"]
    assert found[1].args == ("a", "b")
    assert (found[2].items, found[2].state) == ({"a": 1}, {"attribute": 2})
    names = read_pickle(tmp_path / "file")
    assert isinstance(names, PickledFile)
    assert "datetime.date" in names.names


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        read_pickle(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_pickle(tmp_path)
