"""The demo: a picture, and a page that only this machine can use, whose images are those of the network."""

import http.client
import os
import pty
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_onboarding import read_until
from test_web import Page, difference, model, show

import ganforge
from ganforge.core.images import grid, to_uint8
from ganforge.core.interpolation import lerp
from ganforge.core.loopback import Answer, serve
from ganforge.explore.mixing import mix_styles, read_layers
from ganforge.export.web.live import POLICY, LivePage
from ganforge.sampling import draw_latents, generate


def test_without_a_terminal_it_draws_a_picture_and_names_commands(run, here):
    code, out, err = run("demo")
    assert code == 0, err
    assert out == "runs/avatars/samples.png\n"
    expected = grid(to_uint8(generate(ganforge.load("avatars"), 64))).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(np.asarray(Image.open(out.strip())), expected)
    commands = [line.strip() for line in err.splitlines() if line.startswith("  ganforge ")]
    page = Path(ganforge.__file__).parent.parent / "docs/guide/shipped.md"  # whose commands a test runs
    assert len(commands) == 3
    assert set(commands) <= set(page.read_text().splitlines())


@pytest.fixture(scope="module")
def live():
    """Pages of small networks by name."""
    return {name: LivePage(model(name).generator, model(name).card) for name in ("conditional", "vector", "stylegan")}


def ask(page, part, *inputs):
    body = torch.cat([torch.as_tensor(each, dtype=torch.float32).flatten() for each in inputs]).numpy().tobytes()
    found = page.answer(f"/{part}", body)
    return None if found is None else torch.frombuffer(bytearray(found.content), dtype=torch.float32)


def test_the_process_computes_what_the_page_asks_for(live):
    z, generator = draw_latents(1, 16, 3), model("stylegan").generator
    half = ask(live["stylegan"], "mapping", z, 0.5, -1)
    expected = generator.mapping(z, truncation=0.5)
    torch.testing.assert_close(half.view_as(expected), expected)
    conditional = model("conditional").generator
    z = draw_latents(1, conditional.z_dim, 3)
    for label, taken in ((2, 2), (99, 2), (-5, 0), (float("nan"), 0)):
        image = ask(live["conditional"], "whole", z, label)
        expected = conditional(z, torch.tensor([taken]))
        torch.testing.assert_close(image.view_as(expected), expected)


def test_other_paths_and_inputs_are_not_found(live):
    page = live["stylegan"]
    assert page.answer("/", None).content.startswith(b"<!doctype html>")
    assert b"live.js" not in page.answer("/", None).content
    assert page.answer("/mapping", None) is page.answer("/../page/page.js", None) is None
    assert page.answer("/whole", bytes(4 * 18)) is page.answer("/page.js", b"") is None
    for size in (0, 4 * 18 - 1, 4 * 19):
        assert page.answer("/mapping", bytes(size)) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example"}, 404),
        ({"Origin": "http://evil.example"}, 404),
        ({"Origin": "null"}, 404),
        ({"Content-Length": str(1 << 23)}, 413),
        ({"Content-Length": "-1"}, 413),
    ],
)
def test_the_server_answers_only_its_own_page(headers, status):
    with serve(lambda path, body: Answer(repr((path, body)).encode()), POLICY) as address:
        connection = http.client.HTTPConnection(address.split("/")[2], timeout=60)
        connection.request("POST", "/part", b"abc", headers)
        answer = connection.getresponse()
        assert answer.status == status
        assert (answer.read() == b"('/part', b'abc')") == (status == 200)


@pytest.mark.parametrize("name", ["conditional", "vector", "stylegan"])
def test_the_page_shows_what_the_network_draws(name, live, driver, find_barriers, view):
    made = model(name)
    with serve(live[name].answer, POLICY) as address:
        page = Page(driver, address)
        for seed in (0, 7):
            page.set("seed", seed)
            assert difference(page.pixels(), made.pixels(seed)) <= 1
        assert difference(page.pixels("#grid .tile:nth-child(6) canvas"), made.pixels(5)) <= 1
        if name == "stylegan":
            page.set("other", 5)
            page.click("#parts input[value=middle]")
            base, other = (made.generator.mapping(draw_latents(1, 16, seed)) for seed in (7, 5))
            mixed = mix_styles(base, other, read_layers("middle", made.generator.num_styles))
            assert difference(page.pixels(), show(made.generator.synthesis(mixed))) <= 1
            page.click("#parts input[value=middle]")
            page.set("towards", 8)
            page.set("way", 0.3)
            start, end = (made.generator.mapping(draw_latents(1, 16, seed)) for seed in (7, 8))
            assert difference(page.pixels(), show(made.generator.synthesis(lerp(start, end, 0.3)))) <= 1
        assert find_barriers(driver, *view) == []
        page.check_quiet()
    page.set("seed", 9)
    assert page.text("#status") == "Cannot generate an image: ganforge demo has ended"
    driver.get_log("browser")


@pytest.mark.slow
def test_at_a_terminal_it_opens_the_browser_until_it_is_interrupted(here):
    browser = here / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ganforge", "demo"], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "BROWSER": f"{browser} %s"},
    )  # fmt: skip
    os.close(theirs)
    seen = read_until(ours, b"Ctrl-C ends the page")
    address = Path("opened").read_text().strip()
    assert address.encode() in seen
    assert b"<title>" in urllib.request.urlopen(address, timeout=60).read()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    os.close(ours)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=60)
