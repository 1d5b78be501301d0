"""Read files of ``torch.save`` and ``pickle.dump`` as data: tensors, containers, and inert records.

Both forms of ``torch.save`` are read, the zip archive and the older sequence of pickles, alone or nested in a pickle.
"""

from __future__ import annotations

import codecs
import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError
from ganforge.core.atomic_files import read_bytes
from ganforge.core.memory import machine_memory
from ganforge.core.pickle_data import Budget, Call, Interpreter, Name, PickleError, Record, require_key

MOST_BYTES = 4 << 30
"""Maximum size of a file."""

_MAGIC = 0x1950A86A20F9469CFC6C
"""First number of the older form of ``torch.save``."""

_DEEPEST = 4
"""Maximum depth of files nested in files."""

_DTYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8,
    "Byte": torch.uint8, "Bool": torch.bool,
}  # fmt: skip
_NUMBERS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u1": "B", "b1": "?"}


@dataclass(eq=False, slots=True)
class _Storage:
    """Numbers of tensors, in bytes that may be read later than the tensors."""

    dtype: torch.dtype
    count: int
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, eq=False, slots=True)
class StoredTensor:
    """A tensor of a file, not yet in memory as such.

    Attributes:
        shape: Shape.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Type of its numbers."""
        return self.storage.dtype

    def load(self) -> Tensor:
        """Return a contiguous copy on the CPU."""
        if not math.prod(self.shape):
            return torch.empty(self.shape, dtype=self.dtype)
        flat = torch.frombuffer(bytearray(self.storage.content), dtype=self.dtype)
        return flat.as_strided(self.shape, self.strides, self.offset).clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True, eq=False)
class PickledFile:
    """Content of a file.

    Attributes:
        content: Numbers, texts, containers, `StoredTensor` for tensors, `Record` for all other objects.
        names: Names of all classes and functions in it.
    """

    content: Any
    names: frozenset[str]


_parsed: ContextVar[dict[Path, PickledFile | CheckpointError]] = ContextVar("parsed")


@contextmanager
def parsing_once() -> Iterator[None]:
    """Keep what `read_pickle` returns or raises for a file until the end of the block, for all importers."""
    token = _parsed.set({})
    try:
        yield
    finally:
        _parsed.reset(token)


def read_pickle(path: Path) -> PickledFile:
    """Read a file of ``pickle.dump`` or ``torch.save`` as data: nothing that it names is imported or called.

    Raises:
        CheckpointError: Not found, damaged, or beyond the limits of size and depth.
    """
    parsed = _parsed.get({})
    if path not in parsed:
        parsed[path] = _parse(path)
    found = parsed[path]
    if isinstance(found, CheckpointError):
        raise found.with_traceback(None)
    return found


def _parse(path: Path) -> PickledFile | CheckpointError:
    try:
        data = read_bytes(path, min(MOST_BYTES, machine_memory() // 4))
    except OSError as error:
        return CheckpointError(f"{path}: cannot be read: {error.strerror or error}")
    reader = _Reader(len(data))
    try:
        return PickledFile(reader.read(data), frozenset(reader.names))
    except PickleError as error:
        return CheckpointError(f"{path}: not a readable pickle: {error}")


class _Reader:
    """Reads a file and the files nested in it, within one budget."""

    def __init__(self, size: int) -> None:
        self.budget = Budget(3 * size + 1024)  # a nested archive and its entries count too
        self.names: set[str] = set()
        self.depth = 0

    def read(self, data: bytes) -> Any:
        self.depth += 1
        self.budget.take(len(data))
        if self.depth > _DEEPEST:
            raise PickleError(f"files are nested deeper than {_DEEPEST}")
        found = self._read_zip(data) if data.startswith(b"PK\3\4") else self._read_pickles(data)
        self.depth -= 1
        return found

    def _run(self, stream: BytesIO, storages: dict[str, _Storage] | None = None) -> Any:
        def storage(identifier: Any) -> _Storage:
            return _read_identifier(identifier, {} if storages is None else storages)

        persistent = None if storages is None else storage
        calls: dict[str, Call] = {**_CALLS, "torch.storage._load_from_bytes": self._read_nested}
        return Interpreter(self.budget, calls, persistent, self.names).run(stream)

    def _read_nested(self, data: Any) -> Any:
        if not isinstance(data, bytes):
            raise PickleError("nested bytes are no bytes")
        return self.read(data)

    def _read_pickles(self, data: bytes) -> Any:
        """Read a plain pickle, or the older form of ``torch.save``, which begins with a magic number."""
        stream = BytesIO(data)
        found = self._run(stream)
        if found != _MAGIC:
            return found
        self._run(stream)  # version
        if not isinstance(system := self._run(stream), dict) or system.get("little_endian") is not True:
            raise PickleError("numbers are big-endian")
        storages: dict[str, _Storage] = {}
        found = self._run(stream, storages)
        for key in self._run(stream):
            if key not in storages:
                raise PickleError("a storage is missing")
            storage = storages[key]
            (count,) = struct.unpack("<q", stream.read(8).ljust(8, b"\xff"))
            if count != storage.count:
                raise PickleError("the size of a storage is wrong")
            storage.content = _exactly(stream.read(count * storage.dtype.itemsize), storage)
        for storage in storages.values():
            _exactly(storage.content, storage)
        return found

    def _read_zip(self, data: bytes) -> Any:
        try:
            archive = zipfile.ZipFile(BytesIO(data))
            entries = {each.filename.partition("/")[2]: each for each in archive.infolist()}

            def read(name: str) -> bytes:
                entry = entries.get(name)
                if entry is None or entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                    raise PickleError(f"no file {name[:40]!r} without compression in the archive")
                self.budget.take(entry.file_size)
                return archive.read(entry)

            if "byteorder" in entries and read("byteorder") != b"little":
                raise PickleError("numbers are big-endian")
            storages: dict[str, _Storage] = {}
            found = self._run(BytesIO(read("data.pkl")), storages)
            for key, storage in storages.items():
                storage.content = _exactly(read(f"data/{key}"), storage)
        except PickleError:
            raise
        except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, struct.error, ValueError):
            raise PickleError("damaged archive") from None
        return found


def _exactly(content: bytes, storage: _Storage) -> bytes:
    if len(content) != storage.count * storage.dtype.itemsize:
        raise PickleError("a storage is cut off")
    return content


def _read_identifier(identifier: Any, storages: dict[str, _Storage]) -> _Storage:
    """Return the storage of a persistent identifier, ``("storage", class, key, device, count)``."""
    match identifier:
        case ("storage", Name(text), str(key), str(), int(count)) | (
            "storage", Name(text), str(key), str(), int(count), None
        ):  # fmt: skip
            dtype = torch.uint8 if text.endswith("UntypedStorage") else _DTYPES.get(text.split(".")[-1][:-7])
            if dtype is not None and text.startswith("torch.") and count >= 0:
                found = storages.setdefault(key, _Storage(dtype, count))
                if (found.dtype, found.count) == (dtype, count):
                    return found
    raise PickleError("a persistent identifier that is no storage of torch")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> StoredTensor:
    numbers = (offset, *size, *stride) if isinstance(size, tuple) and isinstance(stride, tuple) else ()
    whole = bool(numbers) and all(type(each) is int and 0 <= each < 1 << 62 for each in numbers)
    if not (whole and isinstance(storage, _Storage) and len(size) == len(stride) <= 16):
        raise PickleError("a tensor is invalid")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count > storage.count or (count and last >= storage.count):
        raise PickleError("a tensor is larger than its storage")
    return StoredTensor(storage, offset, size, stride)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _dict(*args: Any) -> dict[Any, Any]:
    pairs = args[0] if args else []
    if not isinstance(pairs, list | tuple) or not all(isinstance(each, list | tuple) for each in pairs):
        raise PickleError("an OrderedDict is invalid")
    return {require_key(key): value for key, value in pairs}


def _set(*args: Any) -> set[Any]:
    if args and not isinstance(args[0], list):
        raise PickleError("a set is invalid")
    return {require_key(each) for each in (args[0] if args else [])}


def _size(sizes: Any) -> tuple[Any, ...]:
    return tuple(sizes)


def _scalar(dtype: Any, content: Any = b"") -> Any:
    """Return a number of numpy, or a record of it."""
    if isinstance(dtype, Record) and dtype.name == "numpy.dtype" and isinstance(content, bytes):
        kind = _NUMBERS.get(str(dtype.args[0]) if dtype.args else "")
        state = dtype.state if isinstance(dtype.state, tuple) else ()
        order = ">" if state[1:2] == (">",) else "<"
        if kind and len(content) == struct.calcsize(order + kind):
            return struct.unpack(order + kind, content)[0]
    return Record("numpy.scalar", (dtype, content))


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise PickleError("bytes are no text")
    return text.encode("latin1")


codecs.lookup("cp437")  # of names in archives, so that no file is the first to import it

_CALLS: dict[str, Call] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "collections.OrderedDict": _dict,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "torch.Size": _size,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "_codecs.encode": _encode,
}
"""Functions that are read into data."""
