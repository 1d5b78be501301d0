"""Examples of the docs run: small Python, training commands up to their first step; the reference is as generated."""

import importlib.util
import itertools
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image
from test_docs import PAGES, ROOT, blocks, commands

import ganforge
from ganforge.explore import open_space, save_code

SKETCHES = {
    ("decisions.md", "class Loss(nn.Module):"): "shapes of the contract, with ... for their bodies",
    ("modes.md", "class Avatars(Dataset):"): "names of classes, with ... for the rest",
}
"""Blocks of incomplete code, by page and first line, with the reason."""

TINY = {"training.batch": 8, "training.samples": 4, "training.engine": "eager", "training.precision": "float32"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all that pages speak of: images, runs, exported files."""
    place = tmp_path_factory.mktemp("docs")
    before = Path.cwd()
    for name in ("cat", "dog"):
        for number in range(16):
            path = place / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((32, 32), 50 + number).convert("RGB").save(path)
    for digit in range(10):
        for number in range(12):
            path = place / "digits" / str(digit) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((28, 28), 20 * digit + number).convert("L").save(path)
    shutil.copy(place / "photos/cat/0.png", place / "me.jpg")
    shutil.make_archive(str(place / "my-digits"), "zip", place / "digits")
    small = {**TINY, "generator.width": 4, "discriminator.width": 4}
    for name, arch, data, settings in (
        ("dcgan-nonsat-avatars", "dcgan", "photos", small),
        ("cgan-nonsat-mnist", "cgan", "digits", {**TINY, "generator.hidden": 8, "discriminator.hidden": 8}),
        ("stylegan-nonsat-avatars", "stylegan", "photos", small),
    ):
        run = ganforge.train(
            arch=arch, data=place / data, images=8, device="cpu", settings=settings, out=place / "made", quiet=True
        )
        shutil.move(run.path, place / "runs" / f"00000-{name}")
    projected = place / "runs/00000-stylegan-nonsat-avatars/explore/project.safetensors"
    projected.parent.mkdir()
    space = open_space(ganforge.load(place / "runs/00000-stylegan-nonsat-avatars"))
    save_code(projected, space, space.from_seeds([0])[0])
    yield place
    assert Path.cwd() == before


def test_the_reference_is_what_it_describes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    for name, write in reference.PAGES.items():
        page = (ROOT / "docs" / "reference" / name).read_text()
        assert page == write(), f"docs/reference/{name} is stale: python docs/reference.py"
    api = (ROOT / "docs" / "reference" / "api.md").read_text()
    for words in ("### `Step`", "#### `Step.logits`", "**Args**", "- `z_dim: int`: Length of a latent vector"):
        assert words in api
    table = (ROOT / "docs" / "reference" / "parts.md").read_text()
    empty = re.findall(r"^\| (`\w+`) .*\|  \|$", table, re.MULTILINE)
    assert not empty, f"options without a word on what they are: {empty}"


def test_every_command_of_the_reference_says_the_same_at_the_terminal(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    titles = re.findall(r"^## `ganforge (.*)`$", page, re.MULTILINE)
    assert len(titles) > 20
    for title in titles:
        code, out, _ = run(*title.split(), "--help")
        assert code == 0
        mine = page.split(f"## `ganforge {title}`\n")[1].split("\n## ")[0]
        said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", out).split())
        for option, words in re.findall(r"^\| `(--[\w-]+).*?` \| .*? \| (.*?) \|$", mine, re.MULTILINE):
            assert option in said, f"{title} {option}"
            assert words.replace("\\|", "|")[:40] in said, f"{title} {option}: {words}"


WITH_PYTHON = [
    # The page of plugins checks every part.
    pytest.param(each, id=each.name, marks=pytest.mark.exhaustive if each.name == "plugins.md" else ())
    for each in PAGES
    if blocks(each, "python") and each.parent.name != "reference"
]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_in_the_docs_runs(page, place, run, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    if page.name == "export.md":
        assert run("export", "runs/00000-dcgan-nonsat-avatars", "--torchscript", "--onnx")[0] == 0
        for file in Path("runs/00000-dcgan-nonsat-avatars/export").glob("generator.*"):
            shutil.copy(file, place)
    namespace, ran = {"__name__": "docs"}, 0
    for code in blocks(page, "python"):
        first = code.split("\n")[0]
        if (page.name, first) in SKETCHES:
            continue
        if found := re.fullmatch(r"# (\w+)\.py", first):
            (place / f"{found[1]}.py").write_text(code)
            sys.modules.pop(found[1], None)
        exec(compile(in_small(code), str(page), "exec"), namespace)
        for name in [each for each in namespace if each.startswith("test_")]:
            namespace.pop(name)()
        ran += 1
    assert ran or page.name in {name for name, _ in SKETCHES}


STRANGERS = ("squared_hinge", "mean_distance", "lion", "count_runs", "loss_limit")
"""A loss, a metric, an optimizer, a command and a callback."""


@pytest.mark.slow
def test_parts_of_a_stranger_take_at_most_twenty_lines_and_run(place, run, monkeypatch):
    monkeypatch.chdir(place)
    page = blocks(ROOT / "docs/guide/plugins.md", "python")
    for name in STRANGERS:
        (code,) = [each for each in page if each.startswith(f"# {name}.py\n")]
        assert len([line for line in code.splitlines() if line.strip()]) <= 20, name
        (place / f"{name}.py").write_text(code)
    parts = "--loss squared-hinge --callback loss-limit:limit=1e-9 --set optimizer.name=lion"
    plugins = [each for name in ("squared_hinge", "loss_limit", "lion") for each in ("--plugin", f"{name}.py")]
    settings = [each for key, value in TINY.items() for each in ("--set", f"{key}={value}")]
    narrow = ["--set", "generator.width=4", "--set", "discriminator.width=4", "--set", "training.tick_images=8"]
    given = ["--arch", "dcgan", "--data", "photos", "--images", "64", "--device", "cpu", "--out", "strangers"]
    code, _, err = run("train", *given, *settings, *narrow, *parts.split(), *plugins)
    assert code == 0, err
    assert "the generator's loss is" in err
    code, out, err = run("count-runs", "--plugin", "count_runs.py", "--out", "strangers")
    assert (code, out) == (0, "1\n"), err
    measured = "--metric mean-distance --extractor classifier --samples 16 --out strangers --plugin mean_distance.py"
    code, out, err = run("eval", *measured.split(), "--json")
    assert code == 0, err
    assert '"mean-distance' in out


def in_small(code):
    """The same code with less to compute."""
    code = re.sub(r"\bimages=([\d_]+)", lambda found: f"images={max(16, int(found[1]) // 300)}", code)
    code = re.sub(r"\bepochs=\d+", "epochs=1", code)
    return code.replace('"generator.width": 32', '"generator.width": 4, "discriminator.width": 4, "training.batch": 16')


PLACEHOLDER = r"\b[A-Z]{2,}\b|\.\.\.|[\[<&$]|--plugin|--config|--gpus|--init-from|--resume|pix2pix|cyclegan"
"""Of commands that settle no run, or none without a package; test_docs_commands.py runs them."""


def trainings():
    """Every training command of the docs that begins a run, with its page."""
    found = {}
    for page, words in commands():
        text = " ".join(words)
        if words[:1] == ["train"] and len(words) > 2 and not re.search(PLACEHOLDER, text):
            found.setdefault(text, page)
    return [pytest.param(page, shlex.split(text), id=f"{page.name}: {text}"[:100]) for text, page in found.items()]


class Ready(Exception):
    """A run was settled and would be built now."""


@pytest.mark.parametrize(("page", "words"), trainings())
def test_training_commands_in_the_docs_settle_a_run(page, words, monkeypatch):
    from ganforge.cli import main
    from ganforge.session import trainer

    def settled(config, *_):
        raise Ready(config)

    monkeypatch.setattr(trainer, "Trainer", settled)
    options = dict(itertools.pairwise(words))
    taught = set(re.findall(r'return \{"([\w-]+)":', page.read_text()))
    if taught & {options.get(flag, "").split(":")[0] for flag in ("--loss", "--reg", "--data")}:
        pytest.skip("names a part that the page teaches to write")
    with pytest.raises(Ready) as ready:
        main([*words, "--device", "cpu", "--debug"])
    assert ready.value.args[0].recipe == options.get("--arch", "rpgan")
