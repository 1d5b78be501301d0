"""The web page draws in a browser what the network draws, and reaches no network."""

import functools
import hashlib
import http.server
import re
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import numpy
import pytest
import torch
from marks import GENERATED, read_mark
from PIL import Image

from ganforge import DataSpec, GanforgeError, Generator, NoiseInjection, Number, OptionError, __version__
from ganforge.builtin.exporters import ganforge_exporters
from ganforge.contract.exporter import ExportReport
from ganforge.core.atomic_files import write_bytes
from ganforge.core.images import to_uint8
from ganforge.core.interpolation import lerp, slerp
from ganforge.explore.codes import save_code
from ganforge.explore.directions import factorise, principal_components
from ganforge.explore.mixing import mix_styles, read_layers
from ganforge.explore.spaces import open_space
from ganforge.export.folder import SUMS, list_files
from ganforge.export.web import exporter as web
from ganforge.export.web import runtime
from ganforge.export.web.runtime import find_runtime
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import describe_spec, digest_tensors
from ganforge.sampling import default_labels, draw_latents, generate

NUMBERS = (Number("smile", 0.5, 0.5, (0.0, 1.0)), Number("age", 30.0, 35.0, (20.0, 65.0)))

HOSTILE = "<img src=x onerror=\"document.title='broken in'\">"

WATCH = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => refused.push(event.violatedDirective));
"""


class Model:
    """A generator with random weights, its card, and the class of its pictures."""

    def __init__(self, name, data, **options):
        torch.manual_seed(0)
        self.generator = Registry.installed().build("generator", name, options, data).eval().requires_grad_(False)
        for module in self.generator.modules():
            if isinstance(module, NoiseInjection):
                module.strength.normal_(std=1 / module.lr_multiplier)
        self.label = default_labels(1, data)[0] if "conditioning" in options else None
        while generate(self.generator, 16, labels=default_labels(16, data)).std(0).mean() < 0.3:
            for weights in self.generator.parameters():
                weights.mul_(1.2)  # until pictures differ
        self.card = {
            "data": {"name": "made up", **describe_spec(data)},
            "generator": {"name": name},
            "images": 12345,
            "digest": digest_tensors(self.generator.state_dict()),
        }

    def pixels(self, seed, label=None, truncation=1.0):
        label = self.label if label is None else label
        labels = None if label is None else torch.as_tensor(label)[None]
        return show(generate(self.generator, 1, seed=seed, labels=labels, truncation=truncation))


class Page:
    """An exported page in a tab of the browser."""

    def __init__(self, driver, address):
        self.driver = driver
        driver.switch_to.new_window("tab")
        self.tab = driver.current_window_handle
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        driver.get(address)
        self.wait()

    def begin_anew(self):
        """Put all controls back, and the pictures that the page begins with."""
        self.driver.switch_to.window(self.tab)
        self.run(
            "for (const each of document.querySelectorAll('input'))"
            "  if (each.type === 'checkbox') each.checked = false; else each.value = each.defaultValue;"
            "document.getElementById('label').selectedIndex = 0;"
            "document.getElementById('noise').value = 'fixed';"
            "renew([...Array(12).keys()]);"
            "redraw();"
        )
        self.wait()

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self):
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 60, 0.02).until(lambda _: self.run("return figure.ariaBusy") == "false")

    def set(self, name, value):
        self.run(
            "const control = document.getElementById(arguments[0]); control.value = arguments[1];"
            "for (const type of ['input', 'change']) control.dispatchEvent(new Event(type, { bubbles: true }));",
            name,
            str(value),
        )
        self.wait()

    def click(self, selector):
        self.find(selector).click()
        self.wait()

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def pixels(self, canvas="#picture"):
        width, height, data = self.run(
            "const canvas = document.querySelector(arguments[0]), { width, height } = canvas;"
            "const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });"
            "copy.drawImage(canvas, 0, 0);"
            "return [width, height, Array.from(copy.getImageData(0, 0, width, height).data)];",
            canvas,
        )
        return numpy.array(data, dtype=numpy.int64).reshape(height, width, 4)

    def is_shown(self, name):
        return self.find(f"#{name}").is_displayed()

    def check_quiet(self):
        """Nothing went wrong, and nothing was asked of a network."""
        assert [line["message"] for line in self.driver.get_log("browser")] == []
        assert self.run("return refused") == []
        fetched = self.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        here = self.run("return location.href.replace('index.html', '')")
        assert [name for name in fetched if not name.startswith(here)] == []


def show(images):
    """Images ``[1, C, H, W]`` in [-1, 1] as a canvas holds them: int64 ``[H, W, 4]``."""
    pixels = to_uint8(images)[0].permute(1, 2, 0)
    channels = pixels.shape[-1]
    colours = pixels.expand(-1, -1, 3) if channels == 1 else pixels[:, :, :3]
    opaque = torch.full_like(pixels[:, :, :1], 255)
    return torch.cat([colours, opaque], dim=2).long().numpy()


def difference(one, other):
    assert one.shape == other.shape
    return numpy.abs(one - other).max()


@pytest.fixture(scope="module")
def package(pytestconfig, tmp_path_factory):
    """The npm package as a folder; the archive stays in pytest's own cache."""
    cache = getattr(pytestconfig, "cache", None)  # none if pytest keeps nothing
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANFORGE_CACHE", str(cache.mkdir("web") if cache else tmp_path_factory.mktemp("cache")))
        try:
            found = find_runtime()
        except OptionError as error:
            pytest.skip(f"no runtime: {error}")
    return unpack(tmp_path_factory.mktemp("package"), found.script, found.module, found.binary)


def unpack(folder, script=b"script", module=b"module", binary=b"binary"):
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "1.2.3"}')
    (folder / "dist/ort.wasm.min.js").write_bytes(script)
    (folder / "dist/ort-wasm-simd-threaded.mjs").write_bytes(module)
    (folder / "dist/ort-wasm-simd-threaded.wasm").write_bytes(binary)
    return folder


def pack(path, folder):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "package")
    return path


MODELS = {
    "dcgan": lambda: Model("dcgan", DataSpec((1, 16, 16)), width=4, z_dim=20),
    "conditional": lambda: Model(
        "dcgan", DataSpec((3, 16, 24), ("cat", HOSTILE, "eel & co")), width=4, conditioning="input"
    ),
    "vector": lambda: Model("dcgan", DataSpec((3, 16, 16), numbers=NUMBERS), width=4, conditioning="input"),
    "stylegan": lambda: Model("stylegan", DataSpec((3, 8, 8)), width=4, z_dim=16, w_dim=12, mapping_layers=2),
}


@functools.cache
def model(name):
    return MODELS[name]()


@pytest.fixture(scope="module")
def folders(package, tmp_path_factory):
    """Gives the exported folder of a model."""
    top = tmp_path_factory.mktemp("pages")

    @functools.cache
    def export(name):
        made = model(name)
        report = web.WebExporter(runtime=str(package)).export(made.generator, made.card, top / name)
        assert report.path == top / name
        assert report.num_bytes == sum(
            (top / name / each).stat().st_size for each in list_files(top / name) if each != SUMS
        )
        assert 0 <= report.worst_difference < 1e-4
        return top / name

    return export


@pytest.fixture(scope="module")
def pages(driver, folders):
    """Gives the page of a model, which is opened once."""
    return functools.cache(lambda name: Page(driver, (folders(name) / "index.html").as_uri()))


@pytest.fixture
def open_page(pages):
    def show(name):
        page = pages(name)
        page.begin_anew()
        return page

    return show


@pytest.mark.parametrize("name", MODELS)
def test_seeds_show_what_generate_draws(open_page, name):
    page = open_page(name)
    assert difference(page.pixels(), model(name).pixels(0)) <= 2
    for seed in (7, 2**32 + 3):
        page.set("seed", seed)
        assert difference(page.pixels(), model(name).pixels(seed)) <= 2
    assert difference(page.pixels("#grid .tile:nth-child(6) canvas"), model(name).pixels(5)) <= 2
    height, width = model(name).card["data"]["shape"][1:]
    for canvas in ("#picture", "#grid .tile canvas"):
        size = page.find(canvas).size
        assert size["width"] / size["height"] == pytest.approx(width / height, rel=0.03)
    assert re.fullmatch(r"Seed 4294967299, generated in \d+ ms", page.text("#status"))
    page.check_quiet()


def test_new_pictures_at_a_click_and_one_becomes_the_current_one(open_page):
    page = open_page("dcgan")
    before = [page.pixels(f".tile:nth-child({index}) canvas") for index in (1, 2)]
    page.click("#renew")
    seed = int(page.text(".tile:nth-child(2) span"))
    after = [page.pixels(f".tile:nth-child({index}) canvas") for index in (1, 2)]
    assert difference(before[0], after[0]) > 5
    assert difference(after[0], after[1]) > 5
    page.click(".tile:nth-child(2)")
    assert page.run("return document.getElementById('seed').value") == str(seed)
    assert difference(page.pixels(), model("dcgan").pixels(seed)) <= 2
    assert page.run("return document.querySelector('.tile[aria-pressed=true] span').textContent") == str(seed)
    page.click("#random")
    assert difference(page.pixels(), model("dcgan").pixels(int(page.find("#seed").get_attribute("value")))) <= 2
    page.check_quiet()


def test_only_what_a_network_can_do_is_shown(open_page):
    controls = ("label-field", "condition", "truncation-field", "noise-field", "mix", "directions")
    shown = {name: [page.is_shown(each) for each in controls] for name in MODELS if (page := open_page(name))}
    assert shown == {
        "dcgan": [False, False, False, False, False, True],
        "conditional": [True, False, False, False, False, True],
        "vector": [False, True, False, False, False, True],
        "stylegan": [False, False, True, True, True, True],
    }


def test_classes_are_shown_by_name_and_a_hostile_name_stays_text(open_page):
    page = open_page("conditional")
    assert page.run("return Array.from(document.getElementById('label').options, (each) => each.text)") == [
        "cat",
        HOSTILE,
        "eel & co",
    ]
    assert page.run("return document.images.length") == 0
    assert page.run("return document.title") == "dcgan: made up"
    page.set("label", 2)
    assert difference(page.pixels(), model("conditional").pixels(0, label=2)) <= 2
    assert difference(page.pixels(), model("conditional").pixels(0, label=0)) > 5
    assert difference(page.pixels(".tile:nth-child(4) canvas"), model("conditional").pixels(3, label=2)) <= 2
    page.check_quiet()


def test_numbers_of_a_condition_have_sliders(open_page):
    page = open_page("vector")
    ends = "Array.from(document.querySelectorAll('#condition input'), (each) => [each.min, each.max, each.value])"
    assert page.run(f"return {ends}") == [["0", "1", "0"], ["-5", "65", "20"]]
    assert page.text("#condition .field:nth-child(2) label") == "age"
    assert page.run("return document.querySelector('#condition .field:nth-child(2) output').value") == "20.00"
    page.set("number-1", 1)
    page.set("number-2", 52.5)
    wanted = torch.tensor([1.0, 52.5])
    assert difference(page.pixels(), model("vector").pixels(0, label=wanted)) <= 2
    assert difference(page.pixels(), model("vector").pixels(0)) > 5
    assert difference(page.pixels(".tile:nth-child(4) canvas"), model("vector").pixels(3, label=wanted)) <= 2
    page.check_quiet()


def test_truncation_and_noise_are_those_of_the_network(open_page):
    page, styled = open_page("stylegan"), model("stylegan")
    page.set("truncation", 0.4)
    assert difference(page.pixels(), styled.pixels(0, truncation=0.4)) <= 2
    assert difference(page.pixels(), styled.pixels(0)) > 5
    page.set("truncation", 1)
    w = styled.generator.mapping(draw_latents(1, 16, 0))
    for noise in ("none", "only-coarse", "only-fine", "fixed"):
        page.set("noise", noise)
        assert difference(page.pixels(), show(styled.generator.synthesis(w, noise))) <= 2
    page.set("noise", "random")
    first = page.pixels()
    page.set("seed", 0)
    assert difference(first, page.pixels()) > 5
    page.check_quiet()


@pytest.mark.parametrize("name", MODELS)
def test_directions_are_those_that_explore_finds(open_page, name):
    page, made = open_page(name), model(name)
    space = open_space(made.generator, label=made.label)
    found = (principal_components if space.name == "w" else factorise)(space, 6)
    page.set("direction-2", -2)
    page.set("direction-6", 1.5)
    moves = found.vectors * found.deviations[:, None]
    moved = space.from_seeds([0]) + (1.5 * moves[5] - 2 * moves[1]).float()
    assert difference(page.pixels(), show(space.decode(moved))) <= 2
    assert difference(page.pixels(), made.pixels(0)) > 5
    page.click("#reset")
    assert difference(page.pixels(), made.pixels(0)) <= 2
    page.check_quiet()


@pytest.mark.parametrize("name", ["dcgan", "stylegan"])
def test_a_walk_goes_along_the_sphere_or_straight_through_styles(open_page, name):
    page, made = open_page(name), model(name)
    space = open_space(made.generator)
    start, end = space.from_seeds([3]), space.from_seeds([8])
    page.set("seed", 3)
    page.set("towards", 8)
    assert difference(page.pixels(), made.pixels(3)) <= 2
    for way in (0.3, 1):
        page.set("way", way)
        between = (lerp if space.name == "w" else slerp)(start, end, way)
        assert difference(page.pixels(), show(space.decode(between))) <= 2
    assert difference(page.pixels(), made.pixels(8)) <= 2
    page.check_quiet()


def test_a_walk_is_played_until_it_is_stopped(open_page):
    from selenium.webdriver.support.ui import WebDriverWait

    page = open_page("stylegan")
    before = page.pixels()
    page.find("#play").click()
    assert page.text("#play") == "Pause"
    page.find("#renew").click()  # the grid is drawn meanwhile
    last = "return document.querySelector('.tile:last-child canvas').width"
    WebDriverWait(page.driver, 30).until(lambda _: page.run(last) == 8)
    WebDriverWait(page.driver, 30).until(lambda _: float(page.find("#way").get_attribute("value")) > 0.2)
    page.click("#play")
    assert page.text("#play") == "Play"
    stopped = page.pixels()
    assert difference(before, stopped) > 5
    way = float(page.find("#way").get_attribute("value"))
    start, end = (model("stylegan").generator.mapping(draw_latents(1, 16, seed)) for seed in (0, 1))
    assert difference(stopped, show(model("stylegan").generator.synthesis(lerp(start, end, way)))) <= 2
    page.check_quiet()


def test_styles_are_mixed_by_layers(open_page):
    page, generator = open_page("stylegan"), model("stylegan").generator
    base, other = (generator.mapping(draw_latents(1, 16, seed)) for seed in (0, 5))
    page.set("other", 5)
    page.click("#parts input[value=middle]")
    mixed = mix_styles(base, other, read_layers("middle", generator.num_styles))
    assert difference(page.pixels(), show(generator.synthesis(mixed))) <= 2
    assert difference(page.pixels(), model("stylegan").pixels(0)) > 5
    page.click("#parts input[value=coarse]")
    page.click("#parts input[value=fine]")
    assert difference(page.pixels(), model("stylegan").pixels(5)) <= 2
    page.check_quiet()


def open_code(page, path):
    """Give a file to the page, and wait until it is read."""
    page.run("document.getElementById('status').textContent = ''")
    page.find("#code").send_keys(str(path))
    wait = "return document.getElementById('status').textContent !== ''"
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page.driver, 60, 0.02).until(lambda _: page.run(wait))
    page.wait()


@pytest.mark.parametrize("name", ["dcgan", "stylegan"])
def test_a_code_takes_the_place_of_a_seed(open_page, tmp_path, name):
    page, made = open_page(name), model(name)
    space = open_space(made.generator)
    code = space.from_seeds([70])[0]
    if space.name == "w":
        code = code + 0.3 * torch.randn(code.shape, generator=torch.Generator().manual_seed(0))  # differs by layer
    save_code(tmp_path / "me.safetensors", space, code, fingerprint=made.card["digest"])
    open_code(page, tmp_path / "me.safetensors")
    assert page.text("#status").startswith("Me.safetensors, generated in ")
    assert difference(page.pixels(), show(space.decode(code[None]))) <= 2
    page.set("direction-1", 2)
    found = (principal_components if space.name == "w" else factorise)(space, 6)
    moved = code + (2 * found.deviations[0] * found.vectors[0]).float()
    assert difference(page.pixels(), show(space.decode(moved[None]))) <= 2
    page.click("#reset")
    if space.name == "w":
        page.set("truncation", 0.25)
        mean = made.generator.mapping(draw_latents(1, 16, 0), None, truncation=0.0)
        assert difference(page.pixels(), show(made.generator.synthesis(lerp(mean, code[None], 0.25)))) <= 2
        page.set("truncation", 1)
        save_code(tmp_path / "z.safetensors", open_space(made.generator, "z"), draw_latents(1, 16, 70)[0])
        open_code(page, tmp_path / "z.safetensors")
        assert difference(page.pixels(), made.pixels(70)) <= 2
    assert difference(page.pixels(".tile:nth-child(3) canvas"), made.pixels(2)) <= 2  # the grid stays of seeds
    page.click(".tile:nth-child(3)")
    assert difference(page.pixels(), made.pixels(2)) <= 2
    assert page.find("#code").get_attribute("value") == ""
    page.check_quiet()


def test_a_file_that_is_no_code_of_the_network_is_refused(open_page, tmp_path):
    page, space = open_page("stylegan"), open_space(model("stylegan").generator)
    save_code(tmp_path / "long.safetensors", space, torch.zeros(3, 12))
    save_code(tmp_path / "endless.safetensors", space, torch.full((space.styles.num_styles, 12), torch.inf))
    save_code(tmp_path / "other.safetensors", space, torch.zeros(space.styles.num_styles, 12), fingerprint="another")
    (tmp_path / "text.safetensors").write_text("no code <b>at all</b>")
    for name, expected in {
        "long": "has 3 x 12 numbers, expected",
        "endless": "other values than finite numbers",
        "other": "is a code of another generator",
        "text": "is not the code of an image; ganforge explore project writes one",
    }.items():
        open_code(page, tmp_path / f"{name}.safetensors")
        assert page.text("#status").startswith(f"{name}.safetensors ")
        assert expected in page.text("#status")
        assert difference(page.pixels(), model("stylegan").pixels(0)) <= 2
    page.check_quiet()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_are_rounded_and_clipped_as_those_of_pictures(open_page, channels):
    numbers = torch.tensor([-1.5, -1, -0.5, 0, 1 / 255, 0.3, 0.999, 1, 7, -0.2, 0.5, 1]).reshape(1, channels, 1, -1)
    drawn = open_page("dcgan").run(
        "return Array.from(toPixels(...arguments).data)", numbers.flatten().tolist(), list(numbers.shape[1:])
    )
    pixels = to_uint8(numbers)[0].permute(1, 2, 0)[0].tolist()
    expected = [each * 3 if channels == 1 else each[:3] for each in pixels]
    opacity = [each[3] if channels == 4 else 255 for each in pixels]
    assert drawn == [value for each, alpha in zip(expected, opacity, strict=True) for value in (*each, alpha)]


@pytest.mark.parametrize("length", [5, 16, 100, 256])
def test_random_numbers_are_those_of_torch(open_page, length):
    page = open_page("dcgan")
    for seed in (0, 1234567, 2**40 + 1):
        drawn = page.run("return Array.from(ganforge.randn(...arguments))", length, seed)
        torch.testing.assert_close(torch.tensor(drawn), draw_latents(1, length, seed)[0], rtol=0, atol=3e-6)


def test_a_picture_is_downloaded_as_png(open_page, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    def download():
        page.click("#download")
        WebDriverWait(page.driver, 30, 0.05).until(lambda _: file.exists())
        return read_mark(file.read_bytes())

    page, file = open_page("conditional"), tmp_path / "dcgan-9.png"
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.set("seed", 9)
    mark = {
        "tool": f"ganforge {__version__}",
        "source": GENERATED,
        "system": "ganforge dcgan",
        "version": f"sha256:{model('conditional').card['digest']}",
    }
    assert download() == {**mark, "prompt": "seed 9"}
    assert difference(numpy.array(Image.open(file).convert("RGBA")).astype(int), page.pixels()) == 0
    if shutil.which("exiftool"):
        told = subprocess.run(["exiftool", "-s3", "-DigitalSourceType#", file], capture_output=True)
        assert told.stdout.decode().strip() == GENERATED
    file.unlink()
    page.set("way", 0.5)
    assert download() == {**mark, "prompt": "seeds 9, 1"}
    file.unlink()
    made, code = model("conditional"), tmp_path / "me.safetensors"
    space = open_space(made.generator, "z")
    save_code(code, space, draw_latents(1, made.generator.z_dim, 70)[0], fingerprint=made.card["digest"])
    open_code(page, code)
    file = tmp_path / "dcgan-me.png"
    digest = hashlib.sha256(code.read_bytes()).hexdigest()
    assert download() == {**mark, "prompt": f"code sha256:{digest}, seed 1"}
    file.unlink()
    page.set("way", 0)
    assert download() == {**mark, "prompt": f"code sha256:{digest}"}
    page.check_quiet()
    file.unlink()
    page.run("ganforge.model.packet = ''")
    assert download() == {}


def test_every_control_has_a_name_and_news_are_announced(open_page):
    page = open_page("stylegan")
    nameless = (
        "return Array.from(document.querySelectorAll('input, select, button'))"
        ".filter((each) => !each.ariaLabel && !each.labels?.length && !each.textContent.trim()).map((each) => each.id)"
    )
    assert page.run(nameless) == []
    assert page.find("#status").get_attribute("aria-live") == "polite"
    assert "12,345 training images" in page.text("#source")
    assert "1.2.3" in page.text("footer")


@pytest.mark.parametrize("name", MODELS)
def test_axe_finds_no_barrier(open_page, find_barriers, name, view):
    page = open_page(name)
    assert find_barriers(page.driver, *view) == []
    page.check_quiet()


def test_the_page_cannot_reach_a_network(open_page):
    page = open_page("dcgan")
    answer = page.driver.execute_async_script(
        "const done = arguments[0]; fetch('http://localhost:9/').then(() => done('fetched'), () => done('refused'));"
    )
    assert answer == "refused"
    assert page.run("return refused.splice(0)") == ["connect-src"]
    assert all("localhost:9" in line["message"] for line in page.driver.get_log("browser"))


def test_it_works_from_a_web_server_too(driver, folders):
    folder = folders("conditional")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path.lstrip("/"))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = Page(driver, f"http://127.0.0.1:{server.server_port}/index.html")
        assert difference(page.pixels(), model("conditional").pixels(0)) <= 2
        page.check_quiet()
    finally:
        server.shutdown()
        server.server_close()
    assert set(asked) <= set(list_files(folder))


class Vectors(Generator):
    """A generator of what cannot be shown."""

    def __init__(self):
        super().__init__()
        self.z_dim = 4

    def forward(self, z, labels=None):
        return z


@pytest.mark.parametrize("shape", [[2], [2, 8, 8]])
def test_only_pictures_are_shown(tmp_path, shape):
    with pytest.raises(OptionError, match=", not images"):
        web.WebExporter().export(Vectors(), {"data": {"shape": shape, "class_names": []}}, tmp_path / "page")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Export a page to a folder with graphs that are not of ONNX, and without a runtime."""
    package = unpack(tmp_path / "package")
    text = {"class_names": [], "inputs": {"z": {}}}
    monkeypatch.setattr(web, "read_text", lambda graph: text)

    class Fake:
        def __init__(self, part):
            assert part == "whole"

        def export(self, generator, card, path):
            write_bytes(path, b"graph")
            return ExportReport(path, 5, 7, 1e-6, "outputs")

    monkeypatch.setattr(web, "OnnxExporter", Fake)
    dcgan = model("dcgan")
    return lambda path, marking=True, **card: web.WebExporter(runtime=str(package), marking=marking).export(
        dcgan.generator, {**dcgan.card, **card}, path
    )


def test_a_folder_holds_the_licence_and_an_older_one_is_replaced(export, tmp_path):
    report = export(tmp_path / "site/page")
    assert (report.num_examples, report.worst_difference, report.compared) == (7, 1e-6, "outputs")
    assert "Permission is hereby granted" in (tmp_path / "site/page/onnxruntime/LICENSE.txt").read_text()
    assert [each.name for each in (tmp_path / "site").iterdir()] == ["page"]
    assert "trainedAlgorithmicMedia" in (tmp_path / "site/page/model.js").read_text()
    export(tmp_path / "site/page", marking=False, images=777)
    assert '"images": 777' in (tmp_path / "site/page/model.js").read_text()
    assert '"packet": ""' in (tmp_path / "site/page/model.js").read_text()


def test_what_others_wrote_is_not_replaced(export, tmp_path):
    write_bytes(tmp_path / "page/diary.txt", b"dear diary")
    with pytest.raises(OptionError, match="page already exists, and is not an earlier export of this kind"):
        export(tmp_path / "page")
    assert list_files(tmp_path / "page") == ["diary.txt"]


def test_an_error_leaves_the_older_folder_as_it_was(export, tmp_path, monkeypatch):
    export(tmp_path / "page")
    before = {name: (tmp_path / "page" / name).read_bytes() for name in list_files(tmp_path / "page")}
    monkeypatch.setattr(web, "assign", lambda name, value: (_ for _ in ()).throw(OSError(28, "no space left")))
    with pytest.raises(GanforgeError, match="cannot write .*page: no space left"):
        export(tmp_path / "page", images=777)
    assert {name: (tmp_path / "page" / name).read_bytes() for name in list_files(tmp_path / "page")} == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["package", "page"]


def test_a_package_is_read_from_a_folder_or_an_archive(tmp_path):
    folder = unpack(tmp_path / "top/package")
    archive = pack(tmp_path / "given.tgz", folder)
    for given in (folder, folder.parent, archive):
        assert find_runtime(str(given)) == runtime.Runtime("1.2.3", b"script", b"module", b"binary")


def test_a_package_that_is_none_is_refused(tmp_path):
    folder = unpack(tmp_path / "package")
    archive = pack(tmp_path / "given.tgz", folder)
    (tmp_path / "cut.tgz").write_bytes(archive.read_bytes()[:-60])
    (tmp_path / "text.tgz").write_text("no archive")
    for name in ("cut.tgz", "text.tgz"):
        with pytest.raises(OptionError, match=f"{name}: not a .tgz, or a damaged one"):
            find_runtime(str(tmp_path / name))
    (folder / "dist/ort.wasm.min.js").unlink()
    for given in (folder, pack(tmp_path / "less.tgz", folder)):
        with pytest.raises(OptionError, match="not the npm package onnxruntime-web: dist/ort.wasm.min.js is missing"):
            find_runtime(str(given))
    (unpack(tmp_path / "other") / "package.json").write_text("[]")
    with pytest.raises(OptionError, match="other: its package.json has no version"):
        find_runtime(str(tmp_path / "other"))
    with pytest.raises(OptionError, match="nowhere: cannot be read: No such file"):
        find_runtime(str(tmp_path / "nowhere"))


def make_npm(folder, script):
    """An npm of our own, the only program on the PATH besides the shell's."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    return str(folder)


def test_without_npm_it_says_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="requires onnxruntime-web: npm.* is not on the PATH") as caught:
        find_runtime()
    assert "--set web.runtime=PATH" in caught.value.hint
    monkeypatch.setenv("PATH", make_npm(tmp_path / "bin", "echo 'npm error network' >&2; exit 1"))
    with pytest.raises(OptionError, match="npm could not fetch it: npm error network"):
        find_runtime()


def test_what_npm_brings_is_verified_and_kept(tmp_path, monkeypatch):
    archive = pack(tmp_path / "brought.tgz", unpack(tmp_path / "package"))
    cp = shutil.which("cp")
    monkeypatch.setenv("PATH", make_npm(tmp_path / "bin", f'echo "$*" >> {tmp_path}/asked; {cp} {archive} .'))
    with pytest.raises(GanforgeError, match="npm fetched something else than onnxruntime-web"):
        find_runtime()
    digest = subprocess.run(
        [shutil.which("sha256sum", path="/usr/bin:/bin"), archive], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    monkeypatch.setattr(runtime, "SHA256", digest)
    assert find_runtime().binary == b"binary"
    assert find_runtime().binary == b"binary"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2
    assert asked[0].startswith(f"pack onnxruntime-web@{runtime.VERSION}")


def test_files_of_the_page_name_no_host():
    page = Path(web.__file__).parent / "page"
    texts = {name: (page / name).read_text() for name in list_files(page)}
    assert texts.keys() >= {"index.html", "page.css", "page.js"}
    assert not [name for name, text in texts.items() if re.search(r"https?://(?!www\.w3\.org/)", text)]


def test_the_exporter_is_offered():
    assert ganforge_exporters()["web"] is web.WebExporter
    assert web.WebExporter.suffix == "-web"
