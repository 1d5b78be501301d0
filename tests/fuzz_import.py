"""Import damaged variants of checkpoints: each is imported or refused in one line, and nothing of it is executed.

``python tests/fuzz_import.py FILE.pkl ... --count 10000`` takes an hour. Each variant may take 5 seconds of CPU time
and 1 GB of memory. A failure names the number of the variant; ``--first N --count 1`` repeats it.
"""

import argparse
import pickletools
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from ganforge import GanforgeError
from ganforge.plugins.registry import Registry
from ganforge.session.importing import import_file

SECONDS, ROOM = 5.0, 1 << 30
WATCHED = ("import", "exec", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.", "ctypes.")
WORDS = (b"os", b"system", b"builtins", b"eval", b"torch.storage", b"_load_from_bytes", b"conv_clamp", b"weight", b"")
VALUES = {
    *("BININT1", "BINGET", "BININT", "BININT2", "LONG_BINGET", "BINFLOAT", "SHORT_BINBYTES", "SHORT_BINUNICODE"),
    *("NEWTRUE", "NEWFALSE", "NONE"),
}
CALL = b"cos\nsystem\n(X\x0d\0\0\0touch touchedtR"

_watching = []
_seen = []
_own = set()  # code of this project: annotations that are evaluated


def _watch(event, args):
    if _watching and event.startswith(WATCHED) and not (event == "exec" and args[0] in _own):
        _seen.append((event, args))


sys.addaudithook(_watch)


def find_opcodes(content):
    """Return offsets and names of opcodes, those of pickles nested in bytes included."""
    found, starts = [], [0]
    while starts:
        start = starts.pop()
        try:
            for opcode, argument, offset in pickletools.genops(content[start:]):
                found.append((start + offset, opcode.name))
                if isinstance(argument, bytes) and argument[:1] == b"\x80":
                    starts.append(content.index(argument, start + offset))
        except ValueError:
            pass
    return found


def vary(content, opcodes, number):
    """Return a variant of a file, always the same for a number: with other values, or with other opcodes."""
    draw = random.Random(number)
    if draw.random() < 0.5:
        return _vary_values(content, opcodes, draw)
    return _vary_opcodes(content, [place for place, _ in opcodes], draw)


def _vary_values(content, opcodes, draw):
    """Change numbers, texts and references, and keep the structure."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        place, name = draw.choice(opcodes)
        while name not in VALUES:
            place, name = draw.choice(opcodes)
        match name:
            case "BININT1" | "BINGET":
                changed[place + 1] = draw.choice((0, 1, 2, 3, 4, 9, 64, 255, draw.randrange(256)))
            case "BININT" | "BININT2" | "LONG_BINGET" | "BINFLOAT" | "SHORT_BINBYTES":
                changed[place + draw.choice((1, 2))] = draw.randrange(256)
            case "SHORT_BINUNICODE":
                changed[place + 2 + draw.randrange(max(content[place + 1], 1))] = draw.randrange(32, 127)
            case _:
                changed[place : place + 1] = draw.choice((b"\x88", b"\x89", b"N", b"}", b"]", b")"))
    return bytes(changed)


def _vary_opcodes(content, places, draw):
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        place = draw.choice(places) if draw.random() < 0.8 else draw.randrange(len(content))
        place = min(place + draw.choice((0, 0, 0, 1, 2, 5)), max(len(changed) - 1, 0))
        other = draw.choice(places)
        match draw.randrange(11):
            case 0 if changed:
                changed[place] = draw.randrange(256)
            case 1 if changed:
                changed[place] ^= 1 << draw.randrange(8)
            case 2:
                changed[place : place + 1] = draw.choice(pickletools.opcodes).code.encode("latin1")
            case 3:
                del changed[place : place + draw.choice((1, 2, 9, 300))]
            case 4:
                changed[place:place] = content[other : other + draw.choice((1, 3, 40, 4000))]
            case 5:
                del changed[place:]
            case 6:
                changed[place:place] = CALL
            case 7:
                changed[place : place + 4] = struct.pack("<I", draw.choice((0, 1, 1 << 16, 1 << 31, (1 << 32) - 1)))
            case 8:
                word = draw.choice(WORDS)
                changed[place:place] = b"\x8c" + bytes([len(word)]) + word
            case 9:
                changed[place:place] = draw.choice((b"h", b"j")) + draw.randbytes(4)
            case 10:
                changed[place:place] = draw.choice((b"2", b"(", b"0", b"\x94")) * draw.choice((1, 10, 2000))
    return bytes(changed)


@contextmanager
def guarded():
    """Fail where the block takes more time or memory than allowed."""

    def stop(number, frame):
        raise AssertionError(f"more than {SECONDS:g} seconds of CPU time")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGPROF, before)


def import_variant(content, folder, registry, warming=False):
    """Import a file; return ``imported`` or the beginning of the message; raise for anything else.

    While `warming`, modules of ganforge and torch are imported on first use.
    """
    path = folder / "variant.pkl"
    path.write_bytes(content)
    _seen.clear()
    told = ""
    try:
        with guarded():
            _watching.append(True)
            try:
                import_file(path, folder / "runs", registry, form=None, options={}, name=None)
                outcome = "imported"
            except GanforgeError as error:
                told = str(error)
                outcome = " ".join(told.removeprefix(f"{path}: ").split()[:3])
            finally:
                _watching.clear()
    finally:
        shutil.rmtree(folder / "runs", ignore_errors=True)
    assert "\n" not in told and len(told) < 5000, f"not one line: {told[:300]}"  # noqa: PT018
    assert "correct the plugin" not in told, f"an error of the importer: {told[:300]}"
    if warming:
        _own.update(args[0] for event, args in _seen if event == "exec")
    assert not _seen or warming, f"executed: {str(_seen)[:300]}"
    assert [each.name for each in folder.iterdir()] == ["variant.pkl"], "created a file"
    return outcome


def run(files, count, first=0):
    """Import variants of files in turn; return how often each outcome was."""
    registry, outcomes = Registry.installed(), Counter()
    sources = [(content, find_opcodes(content)) for content in (path.read_bytes() for path in files)]
    with tempfile.TemporaryDirectory() as folder:
        for warming in (True, False):
            for content, _ in sources:
                assert import_variant(content, Path(folder), registry, warming) == "imported"
        for number in range(first, first + count):
            content, opcodes = sources[number % len(sources)]
            try:
                outcomes[import_variant(vary(content, opcodes, number), Path(folder), registry)] += 1
            except BaseException as error:
                raise AssertionError(f"variant {number} of {files[number % len(files)].name}: {error!r}") from error
            if number % 500 == 499:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f"{number + 1 - first} variants, peak memory {peak:.0f} MB", flush=True)
    return outcomes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    for outcome, times in run(given.files, given.count, given.first).most_common(40):
        print(f"{times:6}  {outcome}")
