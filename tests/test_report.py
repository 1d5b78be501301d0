"""A report is one page that holds all of a run, for eyes, ears, keyboards and small screens."""

import base64
import io
import itertools
import json
import math
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import ganforge
from ganforge.evaluation.results.result import Evaluation, append_rows
from ganforge.evaluation.statistics import Interval
from ganforge.report.curves import Line, draw_chart
from ganforge.report.pictures import embed, spread
from ganforge.report.reading import Grid
from ganforge.report.summary import describe_speed
from ganforge.runs.checkpoint import read_tensors, save_tensors
from ganforge.runs.metric_rows import Row

HOSTILE = "<img src=x onerror=\"document.title='broken in'\">"

TINY = {
    "training.batch": 8, "training.samples": 4, "training.tick_images": 16, "training.engine": "eager",
    "training.precision": "float32", "training.layout": "contiguous", "training.threads": 1,
    "generator.width": 4, "discriminator.width": 4,
}  # fmt: skip


class Page(HTMLParser):
    """Text of a page without scripts and pictures."""

    VOID = ("meta", "img", "input", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.headings, self.words = [], [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.open and re.fullmatch(r"h[1-6]", self.open[-1]):
            self.headings[-1][1] += data
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    def text(self):
        return " ".join(" ".join(self.words).split())


def pixels(count):
    return np.random.default_rng(1).integers(0, 256, (count, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs: of styles, and of DCGAN with what evaluations leave behind."""
    place = tmp_path_factory.mktemp("report")
    np.save(place / "images.npy", pixels(40))
    styles = ganforge.train(
        arch="stylegan", data=place / "images.npy", images=32, device="cpu", quiet=True, out=place / "runs",
        settings={**TINY, "generator.z_dim": 8, "generator.w_dim": 8},
    )  # fmt: skip
    plain = ganforge.train(
        arch="dcgan", data=place / "images.npy", images=64, device="cpu", quiet=True, out=place / "runs", settings=TINY
    )
    plain = plain.resume(images=96, quiet=True)
    row = Evaluation(
        metric="modes",
        value=2.0,
        interval=Interval(value=2.0, low=1.5, high=2.5, level=0.95),
        better="higher",
        details={"classes": [{"name": HOSTILE, "generated": 0.25, "data": 0.5}]},
        protocol={"extractor": "plain", "num_samples": 5000},
        subject={"kind": "run", "name": "x", "digest": "d", "weights": None, "images_seen": 96},
        circumstances={"data": "images"},
        notes=(HOSTILE,),
    )
    append_rows(plain.path / "evaluations.jsonl", [row])
    Image.fromarray(pixels(1)[0]).save(plain.path / "nearest.png")
    rows = [json.loads(line) for line in (plain.path / "metrics.jsonl").read_text().splitlines()]
    rows[-1]["warnings"] = [f"mode collapse: {HOSTILE}"]
    rows += [
        {"images": images, "seconds": 1.0, "fd_plain": value} for images, value in ((32, 9.0), (64, 4.0), (96, 6.0))
    ]
    (plain.path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return styles, plain


def report(run, *arguments):
    code, out, err = run("report", *arguments)
    assert code == 0, err
    with open(out.strip(), encoding="utf-8") as file:
        return file.read()


def test_a_page_holds_all_of_a_run_and_fetches_nothing(runs, run):
    text = report(run, runs[1].path)
    page = Page(text)
    titles = [title for level, title in page.headings if level == 2]
    assert titles == [
        "Summary", "Warnings", "Training", "Samples", "Best and last", "Curves", "Evaluation", "Nearest neighbors",
        "Configuration", "Provenance", "Commands",
    ]  # fmt: skip
    for name in ("src", "href", "action", "data", "poster", "srcset"):
        for _, attributes in page.tags:
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", text)
    words = page.text()
    assert "dcgan" in words
    assert "96" in words
    assert "2 (1.5 to 2.5)" in words
    assert "best fd_plain 4 after 64 images" in words
    assert f"ganforge train --resume {runs[1].path} --images 8000" in words
    assert words.count("Python 3.") == 2  # it was begun, and gone on with
    frames = json.loads(re.search(r'id="frames">(.*?)</script>', text, re.DOTALL)[1])
    assert [[images for images, _ in own] for own in frames] == [[0, 16, 32, 48, 64, 80, 96]]


def test_what_a_stranger_wrote_into_a_run_is_text(runs, run):
    text = report(run, runs[1].path)
    assert HOSTILE not in text
    assert Page(text).text().count(HOSTILE) >= 2  # a class and a note, as words


def test_headings_pictures_tables_and_controls_are_named(runs, run):
    page = Page(report(run, *[each.path for each in runs], "--to", str(runs[0].path / "both.html")))
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    labelled = {attributes.get("for") for tag, attributes in page.tags if tag == "label"}
    for tag, attributes in page.tags:
        if tag == "img":
            assert attributes["alt"]
        if tag == "input":
            assert attributes["id"] in labelled
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if tag == "svg":
            assert attributes.get("aria-hidden") or attributes["aria-label"]
    assert ("html", {"lang": "en"}) in page.tags


def test_runs_stand_side_by_side_with_what_differs(runs, run):
    text = report(run, *[each.path for each in runs], "--to", str(runs[0].path / "both.html"))
    words = Page(text).text()
    for each in runs:
        assert each.path.name in words
    assert "Differences" in words
    assert "generator.name stylegan dcgan" in words
    assert len(json.loads(re.search(r'id="frames">(.*?)</script>', text, re.DOTALL)[1])) == 2
    assert "Truncation: each row one seed" in words
    assert "Style mixing" in words


def test_a_generator_of_classes_is_drawn_truncated_and_mixed(run, tmp_path):
    for kind in ("cat", "dog"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for number, picture in enumerate(pixels(4)):
            Image.fromarray(picture).save(tmp_path / "pets" / kind / f"{number}.png")
    made = ganforge.train(
        arch="stylegan2", data=tmp_path / "pets", images=8, device="cpu", quiet=True, out=tmp_path / "runs",
        settings={**TINY, "generator.z_dim": 8, "generator.w_dim": 8, "generator.conditioning": "input"},
    )  # fmt: skip
    words = Page(report(run, made.path)).text()
    assert "Truncation of class cat" in words
    assert "Style mixing of class cat" in words
    assert "cannot be sampled" not in words


def test_the_speed_of_a_run_is_its_mean_and_the_last():
    row = Row(images=1000, seconds=4.0, numbers={"images_per_second": 62.0})
    assert describe_speed(row) == "250 images/s on average, 62 at last"
    assert describe_speed(None) == ""


def test_real_examples_stand_beside_the_samples_once(runs, run, tmp_path):
    text = report(run, *[each.path for each in runs], "--to", str(tmp_path / "both.html"))
    reals = [each for tag, each in Page(text).tags if tag == "img" and each["alt"].startswith("Real examples")]
    assert [each["alt"] for each in reals] == ["Real examples"]  # both runs have those of the same data
    (shown,) = pictures_of(reals[0]["src"])
    with Image.open(runs[0].path / "samples" / "000000032.png") as samples:
        assert shown.shape == (samples.height, samples.width, 3)
    cells = [shown[top : top + 16, left : left + 16] for top in (0, 18) for left in (0, 18)]
    assert all(any((cell == each).all() for each in pixels(40)) for cell in cells)


def test_a_run_without_real_examples_has_none_in_its_report(runs, run, tmp_path):
    """Runs of earlier versions, and those of a stranger who links to a picture elsewhere."""
    old = tmp_path / "00001-old"
    shutil.copytree(runs[1].path, old)
    (old / "samples" / "real.png").unlink()
    text = report(run, old)
    assert "Real examples" not in text
    assert "real.png" not in text
    (old / "samples" / "real.png").symlink_to(runs[1].path / "samples" / "real.png")
    text = report(run, old)
    assert "Real examples" not in text
    assert "real.png: cannot be read" in Page(text).text()


def test_license_and_source_of_a_run_are_shown_as_text(runs, run, tmp_path):
    words = Page(report(run, runs[1].path)).text()
    assert "license not stated" in words
    taken = tmp_path / "00001-taken"
    shutil.copytree(runs[1].path, taken)
    tensors, card = read_tensors(taken / "generator.safetensors")
    card["imported"] = {"file": "a.pkl", "license": "CC-BY-4.0", "source": HOSTILE, "sha256": "12ab" * 16}
    save_tensors(taken / "generator.safetensors", tensors, card)
    text = report(run, taken)
    words = Page(text).text()
    assert words.count("license CC-BY-4.0") == 2  # among the facts and in the provenance
    assert f"origin a.pkl from {HOSTILE} sha256 {'12ab' * 16}" in words
    assert HOSTILE not in text


def test_a_run_with_damaged_files_still_has_a_report_that_says_so(runs, run, tmp_path):
    broken = tmp_path / "00001-broken"
    shutil.copytree(runs[1].path, broken)
    (broken / "generator.safetensors").write_bytes(b"no weights")
    sorted(broken.glob("samples/*.png"))[0].write_bytes(b"no picture")
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"images": \n')
    (broken / "evaluations.jsonl").write_text("[]\n")
    words = Page(report(run, broken)).text()
    for told in ("cannot be sampled", "unsupported image format", "is damaged", "is no evaluation"):
        assert told in words


TICK = {"images": 10, "seconds": 1.0, "images_per_second": 5.0, "x": 1.0}

SCORE = {"images": 10, "seconds": 1.0, "fid": 3.0}

EVALUATION = {
    "metric": "modes", "value": 1, "details": {}, "notes": [], "protocol": {},
    "subject": {"kind": "run", "name": "x", "digest": "d"}, "circumstances": {"data": "x"},
}  # fmt: skip

DAMAGES = {  # file, its content, and what the report says of it; None where it is drawn
    "loss as text": ("config.json", '{"loss": "x"}', "loss: expected object, got str"),
    "data as text": ("config.json", '{"data": "x"}', "data: expected object, got str"),
    "training as text": ("config.json", '{"training": "x"}', "training: expected object, got str"),
    "minutes as text": ("config.json", '{"training": {"minutes": "5"}}', "training.minutes: expected float | null"),
    "minutes of 400 digits": (
        "config.json", '{"training": {"minutes": 1%s}}' % ("0" * 400), "training.minutes: an integer of more than 64"
    ),
    "speed as text": (
        "metrics.jsonl", json.dumps(TICK | {"images_per_second": "x"}), "images_per_second: expected float | null"
    ),
    "seconds NaN": ("metrics.jsonl", json.dumps(TICK | {"seconds": math.nan}), "seconds: expected float, got null"),
    "seconds infinite": ("metrics.jsonl", json.dumps(TICK | {"seconds": math.inf}), "seconds: expected float"),
    "warnings a number": ("metrics.jsonl", json.dumps(TICK | {"warnings": 5}), "warnings: expected array, got int"),
    "mixed scores": (
        "metrics.jsonl", "\n".join(json.dumps(SCORE | {"fid": each}) for each in (3.0, "x", [])), "fid: expected float"
    ),
    "null scores": ("metrics.jsonl", "\n".join(json.dumps(SCORE | {"fid": each}) for each in (None, 3.0, None)), None),
    "only null scores": ("metrics.jsonl", json.dumps(SCORE | {"fid": None}), None),
    "the largest numbers": (
        "metrics.jsonl", "\n".join(json.dumps(TICK | {"x": each, "y": each}) for each in (1e308, -1e308, 1.0)), None
    ),
    "only the largest numbers": ("metrics.jsonl", json.dumps(SCORE | {"fid": -1e308}), None),
    "images of 400 digits": ("metrics.jsonl", '{"images": 1%s}' % ("0" * 400), "images: an integer of more than 64"),
    "a number of 400 digits": (
        "metrics.jsonl", '{"images": 1, "images_per_second": 1, "x": 1%s}' % ("0" * 400),
        "x: an integer of more than 64",
    ),
    "a lone surrogate": ("metrics.jsonl", json.dumps(TICK | {"warnings": ["\ud800"]}), "line 1, is damaged"),
    "a lone surrogate in evaluations": ("evaluations.jsonl", '{"metric": "\\ud800"}\n', "is no evaluation"),
    "modes as text": (
        "evaluations.jsonl",
        json.dumps(EVALUATION | {"details": {"coverage": {"num_covered": "<b>", "num_modes": 8}}}) + "\n",
        "details.coverage.num_covered: expected int, got str",
    ),
    "an environment of other types": ("environment.jsonl", '{"versions": 5}', "versions: expected object, got int"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_told_of_in_one_line(run, tmp_path, damage):
    file, content, said = DAMAGES[damage]
    folder = tmp_path / "00000-new"
    folder.mkdir()
    (folder / "config.json").write_text('{"recipe": "dcgan"}')
    (folder / file).write_text(content)
    if file == "config.json":
        code, out, err = run("report", folder)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert said in err
        return
    words = Page(report(run, folder)).text()
    assert said is None or said in words
    assert "is damaged" not in words or said


def test_a_run_that_has_not_begun_to_train_has_a_report_too(run, tmp_path):
    (tmp_path / "00000-new").mkdir()
    (tmp_path / "00000-new" / "config.json").write_text('{"recipe": "dcgan"}')
    assert "Not evaluated yet" in Page(report(run, tmp_path / "00000-new")).text()


@pytest.mark.parametrize(("arguments", "said"), [
    (["nobody"], "run not found"), (["--to", "report.pdf"], "is an .html file"), ([], "no run found"),
])  # fmt: skip
def test_a_mistake_is_one_line(run, here, runs, arguments, said):
    given = [runs[1].path, *arguments] if arguments[:1] == ["--to"] else arguments
    code, out, err = run("report", *given)
    assert (code, out) == (2, "")
    assert said in err


def test_curves_survive_any_number():
    for values in ([], [1.0], [math.nan, 2.0, math.inf, 3.0], [5.0] * 3, [1e18] * 3, [-1e30, 1e30], list(range(3000))):
        points = list(enumerate(map(float, values)))
        if not any(map(math.isfinite, values)):
            continue
        chart = draw_chart("Any", [Line("value", points)])
        assert "nan" not in re.sub(r'aria-label="[^"]*"', "", chart).replace("<b>nan", "")
        assert len(re.findall(r"[ML][\d.]", chart)) < 500


def test_a_run_keeps_its_colour_where_another_has_no_such_numbers(runs, run):
    text = report(run, *[each.path for each in runs], "--to", str(runs[0].path / "both.html"))
    lines = re.findall(r'<path class="line (line-\d)"[^>]*/></svg> ([^<]*) <b>', text)
    assert set(lines) == {("line-0", runs[0].path.name), ("line-1", runs[1].path.name)}


def test_of_many_grids_some_from_all_over_are_taken():
    grids = [Grid(number, None) for number in range(1000)]
    chosen = spread(grids, 48)
    assert len(chosen) == 48
    assert (chosen[0], chosen[-1]) == (grids[0], grids[-1])
    gaps = np.diff([each.images for each in chosen])
    assert gaps.max() - gaps.min() <= 1


def pictures_of(text):
    """Pixels of all pictures of a page, int ``[H, W, 3]``, those of the slider too."""
    found = re.findall(r"data:image/\w+;base64,([\w+/=]+)", text)
    assert len(found) == len(set(found)), "a picture is there twice"
    opened = [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]
    return [np.asarray(each.convert("RGB")).astype(int) for each in opened]


def draw_grid(seed, roughness):
    """64 blots of 32 x 32, with noise in each color."""
    source = np.random.default_rng(seed)
    blots = np.asarray(Image.fromarray(source.integers(0, 256, (24, 24, 3), np.uint8)).resize((270, 270)))
    return (blots + source.normal(0, roughness, blots.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.exhaustive
def test_two_long_runs_can_be_mailed(run, tmp_path):
    for number in range(2):
        (tmp_path / f"0000{number}-long" / "samples").mkdir(parents=True)
        (tmp_path / f"0000{number}-long" / "config.json").write_text('{"recipe": "dcgan"}')
        for step in range(40):
            picture = Image.fromarray(draw_grid(40 * number + step, 30 - step / 2))
            picture.save(tmp_path / f"0000{number}-long" / "samples" / f"{step * 1000:09d}.png")
    places = sorted(tmp_path.glob("0*"))
    assert sum(each.stat().st_size for each in tmp_path.glob("*/samples/*")) > 10_000_000
    text = report(run, *places, "--to", tmp_path / "both.html")
    assert len(text) < 4_000_000
    own, others = json.loads(re.search(r'id="frames">(.*?)</script>', text, re.DOTALL)[1])
    assert [images for images, _ in own] == [images for images, _ in others]
    assert (own[0][0], own[-1][0]) == (0, 39000)
    assert f"Shown, evenly spaced: {len(own)} of 40 grids of 00000-long, {len(own)} of 40 grids" in Page(text).text()
    assert len(own) >= 16
    assert len(pictures_of(text)) == 2 * len(own)


def test_no_picture_of_a_page_is_there_twice(runs, run, tmp_path):
    shutil.copytree(runs[1].path, tmp_path / "00001-best")
    pictures = len(pictures_of(report(run, tmp_path / "00001-best")))
    shutil.copy(runs[1].path / "generator.safetensors", tmp_path / "00001-best" / "generator-best.safetensors")
    text = report(run, tmp_path / "00001-best")
    assert len(pictures_of(text)) == pictures
    assert "The newest generator, also the best, after 96 images" in Page(text).text()


@pytest.mark.parametrize(("roughness", "largest_error"), [(0, 3), (30, 16)])
def test_pictures_of_a_page_look_as_they_did(roughness, largest_error):
    drawn = draw_grid(1, roughness)
    (shown,) = pictures_of(embed(Image.fromarray(drawn)))
    difference = shown - drawn.astype(int)
    assert np.sqrt((difference**2).mean(axis=(0, 1))).max() < largest_error
    assert abs(difference.mean(axis=(0, 1))).max() < 0.5


def test_pixel_art_is_kept_pixel_by_pixel():
    drawn = np.kron(np.random.default_rng(1).integers(0, 4, (40, 40, 3)) * 85, np.ones((8, 8, 1))).astype(np.uint8)
    (shown,) = pictures_of(embed(Image.fromarray(drawn)))
    assert (shown == drawn).all()


@pytest.fixture(params=["both"])
def browser(driver, runs, run, request):
    """The page of both runs or of one, in a browser without a network."""
    told = {"both": runs, "styles": runs[:1], "plain": runs[1:]}[request.param]
    path = runs[0].path / f"{request.param}.html"
    report(run, *[each.path for each in told], "--to", str(path))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    driver.get_log("browser")
    driver.get(f"file://{path}")
    yield driver
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert driver.get_log("browser") == []


def test_the_slider_moves_through_the_training_by_keyboard(browser):
    slider = browser.find_element(By.ID, "time")
    pictures = [browser.find_element(By.ID, f"grid-{number}") for number in (0, 1)]
    last = [each.get_attribute("src") for each in pictures]
    slider.send_keys(Keys.HOME)
    assert slider.get_attribute("aria-valuetext") == "0 images"
    assert all("after 0 images" in each.get_attribute("alt") for each in pictures)
    first = [each.get_attribute("src") for each in pictures]
    assert all(one != other for one, other in zip(first, last, strict=True))
    slider.send_keys(Keys.END)
    assert "after 32 images" in pictures[0].get_attribute("alt")  # this run ended there
    assert "after 96 images" in pictures[1].get_attribute("alt")
    assert [each.get_attribute("src") for each in pictures] == last
    play = browser.find_element(By.ID, "play")
    play.send_keys(Keys.ENTER)
    assert play.get_attribute("aria-pressed") == "true"
    play.send_keys(Keys.ENTER)
    assert play.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_of_a_small_screen(browser, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


CONTRAST = """
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((each) => {
    const value = each / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const backOf = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = getComputedStyle(each).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
const kinds = "h1, h2, h3, p, dt, dd, td, th, li, a, summary, figcaption, caption, button, text, code";
return [...document.querySelectorAll(kinds)]
  .filter((each) => each.textContent.trim())
  .map((each) => {
    const style = getComputedStyle(each);
    const ink = each.tagName === "text" ? style.fill : style.color;
    const [light, dark] = [luminance(ink), luminance(backOf(each))].sort((a, b) => b - a);
    return [each.tagName + ": " + each.textContent.slice(0, 30), (light + 0.05) / (dark + 0.05)];
  })
  .filter(([, ratio]) => ratio < 4.5);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(browser, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    dark = browser.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark == (scheme == "dark")
    assert browser.execute_script(CONTRAST) == []


@pytest.mark.parametrize("browser", ["both", "styles", "plain"], indirect=True)
def test_axe_finds_no_barrier(browser, find_barriers, view):
    assert find_barriers(browser, *view) == []
    browser.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    assert find_barriers(browser, *view) == []
