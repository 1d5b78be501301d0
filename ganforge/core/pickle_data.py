"""Read pickles as data: an interpreter of opcodes that imports nothing and calls nothing of what a pickle names.

A class or function is a `Name`; a call of one, or an object of one, is a `Record` of its arguments and its state.
"""

from __future__ import annotations

import codecs
import pickletools
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from ganforge.core.text import escape_controls

MOST_OPCODES = 500_000
"""Maximum number of opcodes of a file, nested pickles included: ten times those of the largest StyleGAN2."""

_MOST_DIGITS = 256
"""Maximum bytes of a whole number."""

_MOST_MARKS = 1000
"""Maximum depth of open containers."""

_KEYS = (str, int, float, bytes, type(None))


class PickleError(ValueError):
    """Invalid or unsupported pickle."""


@dataclass(frozen=True, slots=True)
class Name:
    """Name of a class or function, such as ``torch.FloatStorage``."""

    text: str


@dataclass(slots=True, eq=False)
class Record:
    """A call or an object of a pickle, not executed.

    Attributes:
        name: Name of the function or class.
        args: Its arguments, as far as they are data.
        state: State of the object; None without.
        items: Entries of a subclass of dict.
        values: Entries of a subclass of list.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict, repr=False)
    values: list[Any] = field(default_factory=list, repr=False)


Call = Callable[..., Any]
"""Reads the arguments of a known function into data; raises `PickleError`."""


class Budget:
    """Opcodes and bytes that the pickles of a file may have together."""

    def __init__(self, num_bytes: int, num_opcodes: int = MOST_OPCODES) -> None:
        self.num_bytes, self.num_opcodes = num_bytes, num_opcodes

    def take(self, num_bytes: int = 0, num_opcodes: int = 0) -> None:
        """Subtract; raise `PickleError` below 0."""
        self.num_bytes -= num_bytes
        self.num_opcodes -= num_opcodes
        if self.num_bytes < 0 or self.num_opcodes < 0:
            raise PickleError(f"more than {MOST_OPCODES} opcodes" if self.num_opcodes < 0 else "repeated nested files")


class Interpreter:
    """Interpreter of one pickle.

    Args:
        budget: Limits.
        calls: Functions with known results, by the name in the pickle; all other calls become a `Record`.
        persistent: Reads a persistent identifier; None to refuse them.
        names: Set to which names of classes and functions are added.
    """

    def __init__(
        self, budget: Budget, calls: Mapping[str, Call], persistent: Call | None = None, names: set[str] | None = None
    ) -> None:
        self.budget, self.calls, self.persistent = budget, calls, persistent
        self.names: set[str] = set() if names is None else names
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: BytesIO) -> Any:
        """Return the content of the pickle at the position of a stream; the position is then after the pickle.

        Raises:
            PickleError: The pickle is damaged, too large, or has an unsupported opcode.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in texts
                for opcode, argument, _ in pickletools.genops(stream):
                    self.budget.take(num_opcodes=1)
                    if opcode.name == "STOP":
                        return self.stack.pop()
                    self._step(opcode.name, argument)
        except PickleError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
            text = escape_controls(" ".join(str(error).split()))
            raise PickleError(f"damaged pickle: {type(error).__name__}: {text[:100]}") from None
        raise PickleError("damaged pickle: it has no end")

    def _step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            if isinstance(argument, int) and argument.bit_length() > 8 * _MOST_DIGITS:
                raise PickleError("a number is too large")
            self.stack.append(argument)
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        else:
            step = getattr(self, f"_{name.lower()}", None)
            if step is None:
                raise PickleError(f"unsupported opcode {name}")
            step() if argument is None else step(argument)

    def _proto(self, _: int) -> None:
        """Protocols differ in nothing that matters here."""

    _frame = _proto

    def _mark(self) -> None:
        if len(self.marks) >= _MOST_MARKS:
            raise PickleError(f"containers are nested deeper than {_MOST_MARKS}")
        self.marks.append(self.stack)
        self.stack = []

    def _pop_mark(self) -> list[Any]:
        found, self.stack = self.stack, self.marks.pop()
        return found

    def _pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._pop_mark()

    def _dup(self) -> None:
        self.stack.append(self.stack[-1])

    def _tuple(self) -> None:
        found = tuple(self._pop_mark())
        self.stack.append(found)

    def _tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise PickleError("damaged pickle: the stack is empty")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _tuple1(self) -> None:
        self._tuple_of(1)

    def _tuple2(self) -> None:
        self._tuple_of(2)

    def _tuple3(self) -> None:
        self._tuple_of(3)

    def _list(self) -> None:
        found = self._pop_mark()
        self.stack.append(found)

    def _dict(self) -> None:
        entries = self._pop_mark()
        self.stack.append({})
        self._set(entries)

    def _setitem(self) -> None:
        value = self.stack.pop()
        self._set([self.stack.pop(), value])

    def _setitems(self) -> None:
        self._set(self._pop_mark())

    def _set(self, entries: list[Any]) -> None:
        found = self.stack[-1]
        into = found.items if isinstance(found, Record) else found
        if not isinstance(into, dict):
            raise PickleError("damaged pickle: entries of something that is no dict")
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            into[require_key(key)] = value

    def _append(self) -> None:
        value = self.stack.pop()
        self._extend([value])

    def _appends(self) -> None:
        self._extend(self._pop_mark())

    def _extend(self, values: list[Any]) -> None:
        found = self.stack[-1]
        into = found.values if isinstance(found, Record) else found
        if not isinstance(into, list):
            raise PickleError("damaged pickle: entries of something that is no list")
        into.extend(values)

    def _additems(self) -> None:
        values = self._pop_mark()
        if not isinstance(self.stack[-1], set):
            raise PickleError("damaged pickle: entries of something that is no set")
        self.stack[-1].update(map(require_key, values))

    def _frozenset(self) -> None:
        found = frozenset(map(require_key, self._pop_mark()))
        self.stack.append(found)

    def _global(self, text: str) -> None:
        self._name(*text.split(" ", 1))

    def _stack_global(self) -> None:
        name = self.stack.pop()
        self._name(self.stack.pop(), name)

    def _name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("damaged pickle: the name of a class is no text")
        text = f"{module}.{name}"
        if len(text) > 200:
            raise PickleError("the name of a class is too long")
        self.names.add(text)
        self.stack.append(Name(text))

    def _reduce(self) -> None:
        args = self.stack.pop()
        self._call(self.stack.pop(), args, {})

    def _newobj(self) -> None:
        self._reduce()

    def _newobj_ex(self) -> None:
        options, args = self.stack.pop(), self.stack.pop()
        self._call(self.stack.pop(), args, options)

    def _obj(self) -> None:
        found, *args = self._pop_mark()
        self._call(found, tuple(args), {})

    def _inst(self, text: str) -> None:
        args = tuple(self._pop_mark())
        self._name(*text.split(" ", 1))
        self._call(self.stack.pop(), args, {})

    def _call(self, found: Any, args: Any, options: Any) -> None:
        if not (isinstance(found, Name) and isinstance(args, tuple) and isinstance(options, dict)):
            raise PickleError("damaged pickle: a call without a name")
        known = None if options else self.calls.get(found.text)
        self.stack.append(Record(found.text, args, items=options) if known is None else known(*args))

    def _build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Record):  # other objects are complete without
            self.stack[-1].state = state

    def _binpersid(self) -> None:
        self._persid(self.stack.pop())

    def _persid(self, identifier: Any) -> None:
        if self.persistent is None:
            raise PickleError("a persistent identifier, which refers to something outside of the file")
        self.stack.append(self.persistent(identifier))


def require_key(value: Any) -> Any:
    """Return a key of a dict or an entry of a set; raise `PickleError` for nested ones, whose hash may take hours."""
    flat = isinstance(value, tuple) and all(isinstance(each, _KEYS) for each in value)
    if not (flat or isinstance(value, (*_KEYS, Name))):
        raise PickleError("a key is no text and no number")
    return value


codecs.lookup("raw-unicode-escape")  # so that no pickle is the first to import it

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
