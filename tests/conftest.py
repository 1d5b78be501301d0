import functools
import itertools
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from forking import run_forked

from ganforge.builtin.avatars import Avatars
from ganforge.cli import app, main
from ganforge.cli.common import global_options
from ganforge.core import console
from ganforge.export import subprocess_runner
from ganforge.plugins import loading

# Tests are small: threads cost more than they give, and one thread makes rounding the same everywhere.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# A shell's background jobs ignore SIGINT, and what is ignored at the start stays ignored.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark tests in a browser as slow."""
    for item in items:
        if "driver" in item.fixturenames:
            item.add_marker("slow")


NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path_factory.getbasetemp() / "caches" / str(next(NUMBERS))))


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Seed torch, so that the numbers of a test do not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_global_options(monkeypatch):
    """A command without options such as --plugin gets none of an earlier test."""
    for name in ("plugins", "disabled", "arguments"):
        monkeypatch.setattr(global_options, name, [])


@pytest.fixture(autouse=True)
def no_heartbeat(monkeypatch):
    """Commands print the same on machines of any speed."""
    monkeypatch.setattr(console, "HEARTBEAT_SECONDS", 1e6)


@pytest.fixture
def few_avatars(monkeypatch):
    """The default number of avatars is small, because ten thousand take long to draw."""
    monkeypatch.setitem(Avatars.__init__.__kwdefaults__, "count", 64)


@pytest.fixture(autouse=True, scope="session")
def constants_once():
    """Build the parser and collect the built-in parts once, not for each command; new processes build them anew.

    Where no execution plan is given, take the simplest without measuring others.
    """
    build, collect = typer.main.get_command, loading.collect_parts
    parser, collected = build(app), functools.cache(collect)

    def collect_parts(module):
        built_in = getattr(module, "__name__", "").startswith("ganforge.builtin.")
        return (collected if built_in else collect)(module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", lambda each: parser if each is app else build(each))
        patch.setattr(loading, "collect_parts", collect_parts)
        patch.setattr("ganforge.training.execution.autotune.SECONDS", 0.0)
        yield


@pytest.fixture(autouse=True, scope="session")
def forked_verification():
    """Verify exported files in a fork, which has imported torch already; `fresh_verification` undoes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess_runner, "subprocess", SimpleNamespace(run=run_forked))
        yield


@pytest.fixture
def fresh_verification(monkeypatch):
    """Verify exported files in a new process."""
    monkeypatch.setattr(subprocess_runner, "subprocess", subprocess)


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Forty gray-blue 16 x 16 PNGs in two classes, which no test changes."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("images") / "photos"
    source = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            pixels = source.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture
def image_folder(photos, tmp_path) -> Path:
    """A copy of the photos."""
    return shutil.copytree(photos, tmp_path / "photos")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run the command line; gives exit code, standard output and standard error."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(each) for each in arguments])
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def random_inception(tmp_path_factory):
    """torch-fidelity's Inception with random weights that keep features at about 1."""
    from torch_fidelity import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_args):
            """Keep what the constructor drew."""

    nothing = tmp_path_factory.mktemp("nothing") / "nothing.pth"
    torch.save({}, nothing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = Blank("blank", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(nothing))
    source = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.dim() >= 2:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=source)
        elif name.endswith(("bn.weight", "running_var")):
            tensor.uniform_(0.7, 1.3, generator=source)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.1, generator=source)
    return module


@pytest.fixture(scope="module")
def offline_home(tmp_path_factory):
    """An empty home without a network and without Inception's weights."""

    def offline(*_args, **_kwargs):
        raise urllib.error.URLError("no route to host")

    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME"):
            patch.setenv(name, str(folder))
        patch.delenv("GANFORGE_INCEPTION_WEIGHTS", raising=False)
        patch.setattr(urllib.request, "urlopen", offline)
        yield folder


BROWSER = "/usr/bin/chromium"
DRIVER = "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if not Path(BROWSER).exists() or not Path(DRIVER).exists():
        pytest.skip(f"no browser: {BROWSER} or {DRIVER} is missing")
    webdriver = pytest.importorskip("selenium.webdriver", reason="no browser: selenium is missing")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('browser')}")
    options.add_argument("--window-size=1200,1400")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


ASK_AXE = """
const done = arguments[0];
// It shall fetch no style sheets: pages forbid that, and of these rules only that on sound would need it.
const runOnly = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
axe.run(document, { runOnly, rules: { "target-size": { enabled: true } }, preload: false }).then(
  ({ passes, violations }) => done({
    ran: passes.length,
    found: violations.flatMap(({ id, nodes }) => nodes.map((each) => `${id}: ${each.target}: ${each.failureSummary}`)),
  }),
  (error) => done({ ran: 0, found: [String(error)] }),
);
"""


@pytest.fixture(
    params=[
        ("light", 360),
        ("dark", 1280),
        *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (("dark", 360), ("light", 1280))),
    ],
    ids=lambda view: f"{view[0]}-{view[1]}",
)
def view(request):
    """A color scheme and the width of a window."""
    return request.param


@pytest.fixture(scope="session")
def find_barriers():
    """Gives what axe-core finds on the page of a browser, by all rules of WCAG 2.2 A and AA and of good practice."""
    script = pytest.importorskip("axe_playwright_python.base", reason="no axe-core").AXE_SCRIPT

    def find(driver, scheme, width):
        """The violations, a sentence each, in a light or dark scheme and at a width."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        colours = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        try:
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", colours)
            assert driver.execute_script(f"return matchMedia('(prefers-color-scheme: {scheme})').matches")
            driver.execute_script(script)
            answer = driver.execute_async_script(ASK_AXE)
        finally:
            driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        assert answer["ran"] > 10 or answer["found"]
        return answer["found"]

    return find
