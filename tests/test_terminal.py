"""Output of running commands: never silent for long, with or without a terminal."""

import io
import threading
import time

import pytest
from rich.console import Console

from ganforge.core import console as output
from ganforge.core.console import heartbeat, progress_bar
from ganforge.session import terminal
from ganforge.session.terminal import Display


@pytest.fixture
def piped(monkeypatch):
    """Standard error that is no terminal, with a beat of 10 ms."""
    text = io.StringIO()
    console = type(output.console)(file=text, highlight=False, width=200)
    for module in (output, terminal):
        monkeypatch.setattr(module, "console", console)
    monkeypatch.setattr(output, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(terminal, "RECENT_SECONDS", 0)
    return text


def wait_for(part, text):
    deadline = time.monotonic() + 60
    while part not in text.getvalue():
        assert time.monotonic() < deadline, text.getvalue()
        time.sleep(0.005)


def test_a_slow_preparation_prints_lines(piped):
    with progress_bar("preparing data") as progress:
        wait_for("preparing data ...", piped)
        progress(3, 40)
        wait_for("preparing data 3 of 40 ...", piped)
    assert "heartbeat" not in [each.name for each in threading.enumerate()]


def test_a_slow_step_prints_lines(piped, tmp_path):
    with Display(tmp_path / "log.txt", 100, None) as display:
        wait_for("first step ...", piped)
        display.step(20, 4.0)
        wait_for("20 images  20%", piped)
        display.tick({"images": 100, "seconds": 9.0, "images_per_second": 5.0, "picture": "000000100.png"})
        wait_for("100 images, writing files", piped)
    assert "writing" not in (tmp_path / "log.txt").read_text()


def test_a_line_that_was_just_printed_is_enough(piped, tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "RECENT_SECONDS", 1e6)
    beats = []
    with Display(tmp_path / "log.txt", 100, None) as display, heartbeat(lambda: beats.append(1) or ""):
        display.note("a note")
        while len(beats) < 5:
            time.sleep(0.005)
    assert piped.getvalue() == "a note\n"


def test_nothing_is_printed_without_a_beat(piped):
    with heartbeat(lambda: ""):
        time.sleep(0.05)
    assert piped.getvalue() == ""


def test_the_panel_explains_what_the_discriminator_says_and_moves_between_steps(tmp_path):
    display = Display(tmp_path / "log.txt", 100, None)
    shown = Console(file=io.StringIO(), width=120)

    def draw():
        with shown.capture() as captured:
            shown.print(display._table())
        return captured.get()

    assert "first step ..." in draw()
    display.step(20, 40.0)
    display.tick({"images": 20, "seconds": 40.0, "images_per_second": 0.5, "D(x)": 0.7, "picture": "p.png"})
    (line,) = [each.split(maxsplit=2) for each in draw().splitlines() if each.startswith("D(x)")]
    assert [each.strip() for each in line] == ["D(x)", "0.700", "real images, judged: 1 real, 0 generated"]
    assert "0:00:40 elapsed, 0:02:40 left" in draw()
    clock, *rest = display._marks[-1]
    display._marks[-1] = (clock - 20, *rest)  # twenty seconds later
    assert "0:01:00 elapsed, 0:04:00 left" in draw()
