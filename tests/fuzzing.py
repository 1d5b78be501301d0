"""Base of the fuzzers: number of inputs, limits of time and memory, and a command line that must not fail.

``GANFORGE_FUZZ=2000 pytest tests/test_fuzz_*.py`` gives each of them 2000 inputs, always the same ones.
"""

import io
import os
import resource
import signal
import threading
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ganforge.cli import main

SECONDS = 60
"""After which an input counts as one that hangs."""

ROOM = 4 << 30
"""Bytes of address space beyond those of the process; larger allocations fail."""


def fuzz(default):
    """Settings of a fuzzer: number of inputs, unless GANFORGE_FUZZ sets it; deterministic, without a deadline."""
    return settings(
        max_examples=int(os.environ.get("GANFORGE_FUZZ", default)),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


@contextmanager
def guarded():
    """Fail where what runs meanwhile takes too long; give it no more memory than `ROOM`."""

    def stop(number, frame):
        raise AssertionError(f"it hangs, for {SECONDS} seconds")

    assert threading.current_thread() is threading.main_thread()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    statm = Path("/proc/self/statm")
    if statm.exists():  # Linux
        size = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, limits[1]))
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def call(*arguments):
    """Run the command line within the guard; exit code, standard output and standard error, which are UTF-8."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    code = None
    with guarded(), redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as stop:
            code = stop.code or 0
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return code, *texts


def require_civil(*arguments):
    """Run the command line: it must end well, or with code 2 and one line that says what is wrong."""
    code, out, err = call(*arguments)
    assert code in (0, 2), (code, err)
    assert "Traceback" not in err
    lines = [line for line in err.split("\n") if line.startswith("error: ")]
    if code == 2 and not out.lstrip().startswith("Usage:"):
        assert len(lines) == 1, err
        assert err.endswith(lines[0] + "\n"), err
        assert lines[0].isprintable(), lines[0]
        assert len(lines[0]) < 5000
    else:
        assert not lines, err
    return code


_NUMBERS = """
0 -1 1 2 7 1.5 1e3 500k 1M -0 nan inf -inf 1e400 1e300 1e-320 1000000000000 1e15 4294967296 9223372036854775807
9223372036854775808 -9223372036854775809 999999999999999999999999999999 0x10 1_0 - k ٣ ½ 1,2 none true
"""

NUMBERS = st.one_of(
    st.sampled_from([*_NUMBERS.split(), "9" * 5000, "", " "]),
    st.integers(-3, 5).map(str),
    st.integers().map(str),
    st.floats().map(str),
)
"""Numbers as a user writes them, and absurd ones."""

_WORDS = ["a b", "a\nb", "a\x1b[31mb", "\ud800", "\udcff", "\u2028", "a\x85b", "a\x00b", "x" * 300, "y" * 10_000, " "]

_PLAIN = "é 名 -- - = : a: :b a:b=c a=b . .. ~ ~nobody {} %s [red] * , ,,"

WORDS = st.one_of(
    st.sampled_from(_PLAIN.split() + _WORDS),
    # Without slashes: what is written stays in the folder of the test.
    st.text(st.characters(exclude_characters="/"), max_size=12),
)
"""Unexpected words."""


HOSTILE_JSON = [
    b"NaN", b"-Infinity", b"1e400", b"-1e308", b"1" + b"0" * 400, b"9" * 5000, b"9223372036854775808", b'"\\ud800"',
    b'"\\udc00"', b"null", b"true", b"[]", b"{}", b"[" * 10_000, b'{"a":' * 10_000, b"[" * 17 + b"]" * 17, b'"x"',
]  # fmt: skip
"""Values that no field of a file expects."""


def mutations(words):
    """Words with one of their letters left out, doubled or replaced."""

    def change(word, place, how):
        place %= max(len(word), 1)
        left, right = word[:place], word[place + 1 :]
        return {"drop": left + right, "double": left + word[place : place + 1] * 2 + right, "swap": f"{left}q{right}"}[
            how
        ]

    return st.builds(change, st.sampled_from(words), st.integers(0, 40), st.sampled_from(["drop", "double", "swap"]))
