"""Every command of README, guides and packages runs, in small, in the order in which a reader meets it."""

import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stylegan2_files
import torch
from PIL import Image
from safetensors.torch import save_file
from test_data_torchvision import write_idx
from test_docs import PAGES, ROOT, blocks
from test_web import unpack
from torchvision.models import resnet18, resnet50

from ganforge.cli import main
from ganforge.core.accelerator import BACKENDS
from ganforge.data import open_data
from ganforge.evaluation.classifier import train_classifier
from ganforge.plugins import loading

OF_PACKAGES = sorted((ROOT / "plugins").glob("*/README.md"))
"""Pages whose parts the packages' own tests train; followed by `-m exhaustive`."""

EVERY = [*PAGES, *OF_PACKAGES]

TUTORIALS = [each for each in EVERY if each.parent.name == "tutorials"]
"""Pages that are followed in a folder without runs; beside runs only by `-m exhaustive`."""

RARE = [*TUTORIALS, *OF_PACKAGES]

LONG = (
    *("benchmarks", "cli", "conditioning", "evaluation", "explore", "export", "extractors", "gallery", "hooks"),
    *("machines", "many-gpus", "plugins", "shipped", "speed", "speedrun", "stability", "tuning"),
)
"""Pages whose commands are mostly those of other pages, or take long."""

NAMES = {
    *{
        "train --data",
        "train --metrics",
        "tune",
        "sample --source",
        "eval",
        "eval --extractor",
        "eval compare",
        "explore arith",
        "explore project",
        "explore drag",
    },
    *{"data check", "data pack", "extractor train", "import", "plugins new", "plugins info"},
}
"""Commands that are spoken of without what they need to run."""

NOT_RUN = {
    "train --data cifar10": "is a download, of pickles that torchvision knows by their checksum",
    "train --log wandb.*": "needs the package wandb, and an account or a network; ganforge-wandb has tests of its own",
    "train .*--data webdataset .*": "needs what ganforge-webdataset depends on; its own tests train from shards",
    "train .*--data huggingface .*": "is a download; ganforge-huggingface's own tests train from local forms",
    "export .*--format huggingface .*": "needs the package huggingface_hub, and is run by ganforge-huggingface's tests",
    "sample faces/generator.safetensors": "is pulled from the hub before; so do those tests",
    "bench .*--export( .*)?": "compiles native code and C++ for minutes; see test_bench_export.py",
    "bench .*--fit": "takes ever more memory; see test_bench.py",
    "hub( .*)?": "needs an account; ganforge-huggingface's tests push to a hub of this machine",
    "c2pa .*": "needs the package c2pa-python and a key; ganforge-c2pa's tests sign with those of its README",
    "import FILE.*": "needs a checkpoint of another program; see test_importers.py",
    "eval 0 1 .*": "compares runs that a page trains under other numbers",
    "eval .*--gpus.*": "starts processes, as the trainings before it do; see test_eval_cli.py",
    "eval .*(fd-dinov2|cmmd).*": "needs 2 GB of weights; test_published_protocols.py has small ones",
    "explore project .*--features lpips.*": "needs 528 MiB of weights; test_latent_metrics.py has random ones",
    "export .*--pt2.*": "compiles native code for half a minute; see test_portable.py",
}
"""Commands that are not run, as patterns of the whole of each, and why."""

PROGRAMS = {
    "python3": "makes an environment, which these tests run in",
    ".": "enters it",
    "pip": "is played by `install`, for packages in a folder",
    "pytest": "runs tests, of ganforge and of packages, which is what is being done",
    "python": "docs/pictures.py trains for an hour what the pictures show",
    "cmake": "builds the C++ that test_cpp.py builds",
    "build/ganforge_sample": "runs it, as test_cpp.py does",
    "viewer/build/ganforge_sample": "likewise",
    "fidelity": "is torch-fidelity's own command, and takes minutes",
    "curl": "downloads 91 MiB",
    "sha256sum": "looks at what was downloaded",
    "unzip": "reads what test_export.py reads by Python's own zip",
    "tensorboard": "serves until it is stopped",
    ".ci/gpu": "takes minutes, and a GPU; .ci/run rehearses it",
    "wandb": "needs an account",
    "hf": "needs an account",
    "tar": "makes a shard, as ganforge-webdataset's tests do by Python's own tar",
    "head": "is the shell's",
    "docker": "builds and runs images, and needs its daemon and a base image",
    "exiftool": "is another program; test_marking.py calls it",
    "openssl": "makes keys, as ganforge-c2pa's tests do by these commands",
    "printf": "likewise",
    "cat": "likewise",
}
"""Other programs that pages call, and why they are not run."""

STANDS_FOR = {
    r"--config FILE": "--config given.toml",
    r"eval FILE\.pt": "eval generator.pt --kid --extractor classifier --data photos",
    r"sample FILE": "sample generator.safetensors",
    r"A B \.\.\.": "3 7",
    r"RUNS": "3 7",
    r"new NAME --kind KIND": "new stripes --kind dataset",
    r"--arch NAME": "--arch mlp",
    r"--format NAME": "--format safetensors",
    r"--extractor NAME": "--kid --extractor classifier",
    r"--log NAME(\[:option=value\])?": "--log tensorboard",
    r"--(generator|discriminator) NAME": r"--\1 dcgan",
    r"--loss NAME": "--loss hinge",
    r"--reg NAME": "--reg r1",
    r"--data NAME": "--data avatars",
    r"--augment NAME": "--augment flip",
    r"info NAME": "info dcgan",
    r"--metric NAME": "--metric kid --extractor classifier",
    r"--callback NAME": "--callback early-stop --eval-every 8 --metrics fd",
    r"optimizer\.name=NAME": "optimizer.name=adamw",
    r"^NAME$": "plugins list",
}
"""Replacements of words in capitals."""

FLAGS = "--images=16 --batch=8 --resolution=64 --eval-every=8 --epochs=1 --gpus=2 --samples=8 --measure=8"
SETTINGS = "data.count=64 training.eval_samples=8 generator.width=8 discriminator.width=8"
FEWER = "--candidates=512 --count=4 --steps=2 --draws=4 --seconds=0.01"
AT_MOST = {name: float(most) for name, most in re.findall(r"(\S+)=(\S+)", f"{FLAGS} {FEWER} {SETTINGS}")}
"""Numbers are no larger than this."""

SMALL = {"width": 8, "max_width": 16, "hidden": (8,), "count": 256}
"""Options of parts, where a page says nothing of them."""

HERE = "--device cpu --engine eager --precision float32 --set training.layout=contiguous --set training.threads=1"
"""Computed in a plain way, which is not measured first."""

ALSO = {
    r"(train|tune) (?!.*--resume)": f"--batch 8 --set training.samples=4 --set training.eval_samples=8 {HERE}",
    r"train (?!.*--(resume|images|minutes))": "--images 16",
    r"train .*--resume(?!.*--(images|minutes))": "--images 24",
    r"eval .*--(all|memorization|authenticity)": "--references 24",
    r"eval .*--(fid|kid|prc)": "--references 8",
    r"eval .*--(?!compare|discriminator|linear|data|extractor|split)": "--samples 8",
    r"bench(?!.*--compare)": f"--seconds 0.01 {HERE}",
    r"bench .*--compare": "--seconds 0.01 --batch 8 --device cpu",
    r"explore (arith|directions) .*--attribute": "--candidates 512",
    r"explore project": "--steps 3",
    r"(eval|sample|explore|extractor) (?!compare)": "--device cpu",
    r"export .*--web": "--set web.runtime=onnxruntime-web",
}
"""Options that are added to commands that begin so, where a page does not give them."""

COSTLY = r"(export|bench|eval .*--(fid|all)).*"
"""Commands that are run once, however many pages show them."""


def commands(page):
    """Instructions of a page in order: files as name and content, and commands as None and words."""
    pattern = r"^```(\w*)\n(.*?)^```|`(ganforge [^`]+|pip install \.)`"
    for language, code, said in re.findall(pattern, page.read_text(), re.MULTILINE | re.DOTALL):
        if named := re.match(r"# ([\w/]+\.\w+)\n", code):
            yield named[1], code
        if said or (language == "sh" and not code.startswith("#!")):
            for line in (said.replace("\n", " ") or code.replace("\\\n", " ")).splitlines():
                words = " ".join(each if each.strip("&|") else "\n" for each in shlex.split(line, comments=True))
                for command in words.splitlines():
                    # torchrun starts several processes, and variables may precede the command.
                    called = re.sub(r"^ *(torchrun .* -m (?=ganforge )|([A-Z_]+=\S+ )*)| 2>&1", "", command).split()
                    if called:
                        yield None, called


def texts(page):
    """The commands of ganforge on a page."""
    return [" ".join(words[1:]) for file, words in commands(page) if not file and words[0] == "ganforge"]


def in_small(text):
    """The words of a command with less to compute. Minutes become images, because speed differs between machines."""
    for pattern, given in STANDS_FOR.items():
        text = re.sub(pattern, given, text)
    small = []
    for flag, word in zip(["", *text.split()], text.split(), strict=False):
        name, mark, value = word.rpartition("=") if flag == "--set" else (flag, "", word)
        if name == "--minutes":
            small[-1], value = "--images", str(8 + 8 * (int(float(value)) // 60))
        elif name == "--resolution" and "x" in value:  # a small rectangle of the same shape
            sides = [int(side) for side in value.split("x")]
            value = "x".join(str(8 * side // math.gcd(*sides)) for side in sides)
        elif name in AT_MOST:
            value = f"{min(float(value.replace('k', 'e3').replace('M', 'e6')), AT_MOST[name]):g}"
        small.append(f"{name}{mark}{value}" if mark else value)
    for pattern, options in ALSO.items():
        if re.match(pattern, text):
            for flag, value in zip(options.split()[::2], options.split()[1::2], strict=True):
                if flag not in small or (flag == "--set" and f"{value.split('=')[0]}=" not in text):
                    small += [flag, value]
    return small


def load_small(load, patch):
    """Load plugins with smaller defaults of their parts."""

    def shrink(part):
        made = getattr(part, "__init__", None)
        for options in [*getattr(part, "settings", {}).values(), getattr(made, "__kwdefaults__", None) or {}]:
            for name in options.keys() & SMALL.keys():
                patch.setitem(options, name, SMALL[name])

    def loaded(*given):
        found = load(*given)
        for plugin in found:
            for parts in plugin.parts.values():
                for part in parts.values():
                    shrink(part)
        return found

    return loaded


def draw(folder, count, size, mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.effect_noise((size, size), 20 + number).convert(mode).save(folder / f"{number}.png")


def do(text):
    with pytest.raises(SystemExit) as stop:
        main(in_small(text))
    assert not stop.value.code, text


@pytest.fixture(scope="module")
def cache(tmp_path_factory, random_inception):
    """A cache for all pages, and in it MNIST and weights of networks; all of noise."""
    cache = tmp_path_factory.mktemp("cache")
    images = np.random.default_rng(0).integers(0, 256, (160, 28, 28), np.uint8)
    for prefix in ("train", "t10k"):
        write_idx(cache / f"downloads/MNIST/raw/{prefix}-images-idx3-ubyte", images)
        write_idx(cache / f"downloads/MNIST/raw/{prefix}-labels-idx1-ubyte", np.arange(160, dtype=np.uint8) % 10)
    torch.save(random_inception.state_dict(), cache / "random.pth")
    torch.save(resnet50().state_dict(), cache / "resnet50-11ad3fa6.pth")
    save_file(resnet18().state_dict(), cache / "resnet18.safetensors")
    return cache


@pytest.fixture(scope="module")
def place(tmp_path_factory, cache):
    """A folder with all that pages speak of: images, runs, exported files."""
    place = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("GANFORGE_CACHE", str(cache))
        patch.setenv("GANFORGE_INCEPTION_WEIGHTS", str(cache / "random.pth"))
        patch.setattr(loading, "load_plugins", load_small(loading.load_plugins, patch))
        patch.setattr("ganforge.evaluation.small_network._BATCH", 16)
        patch.setitem(BACKENDS, "cpu", replace(BACKENDS["cpu"], edge=64))
        for name in ("photos/cat", "photos/dog", "symbols/a", "symbols/b", "shown/a", "shown/b"):
            draw(Path(name), 24, 32)
        for name in ("real", "fake", "held-out", "noise", "blur", "blur-more", "sketches", "horses", "zebras"):
            draw(Path(name), 24, 32)
        draw(Path("faces"), 24, 32)
        rows = [f"{number}.png,{number % 2},{20 + number}" for number in range(24)]
        Path("faces/metadata.csv").write_text("\n".join(["file_name,smile,age", *rows]) + "\n")
        for name in ("facades/train/a", "facades/train/b"):
            draw(Path(name), 160, 32)
        shutil.copy("photos/cat/0.png", "me.jpg")
        for digit in range(10):
            draw(Path("digits", str(digit)), 16, 28, "L")
            draw(Path("pictures", str(digit)), 16, 32)
        draw(Path("small"), 24, 16)
        for name, folder in (
            ("mnist-train", "digits"), ("my-digits", "digits"), ("cifar10-train", "pictures"), ("digits", "small"),
            ("inverted-and-rotated", "small"), ("cat-faces-128", "photos"),
        ):  # fmt: skip
            shutil.make_archive(name, "zip", folder)
        Path("drums").mkdir()
        for number in range(8):
            with wave.open(f"drums/{number}.wav", "wb") as sound:
                sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(16000)
                sound.writeframes(np.random.default_rng(number).integers(-9999, 9999, 20000, np.int16).tobytes())
        for name in ("random.pth", "resnet50-11ad3fa6.pth", "resnet18.safetensors"):
            Path(name).symlink_to(cache / name)
        Path("plugins").symlink_to(ROOT / "plugins")
        torch.manual_seed(0)
        small = {"resolution": 64, "width": 2, "most": 4}
        players = {name: stylegan2_files.generator(**small) for name in ("G", "G_ema")}
        stylegan2_files.write(Path("network.pkl"), **players, D=stylegan2_files.discriminator(**small))
        Path("given.toml").write_text('recipe = "mlp"\n')
        torch.jit.script(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())).save("xray.pt")
        train_classifier(open_data("my-digits.zip", resolution=32), seed=0, epochs=1).save(Path("digits.safetensors"))
        unpack(Path("onnxruntime-web"))
        for number, arch in ((3, "dcgan"), (7, "dcgan"), (8, "stylegan")):
            do(f"train --arch {arch} --data avatars --resolution 32 --eval-every 8 --metrics fd --out made")
            do("eval --kid --extractor classifier --out made")
            Path("runs").mkdir(exist_ok=True)
            Path(f"made/00000-{arch}-nonsat-avatars").rename(f"runs/{number:05d}-{arch}-nonsat-avatars")
        do("export 7 --to generator.pt")
        shutil.copy("runs/00007-dcgan-nonsat-avatars/generator.safetensors", ".")
        yield place


@pytest.fixture(scope="module")
def seen():
    """Commands that were run."""
    return set()


@pytest.fixture
def here(place, cache, tmp_path, monkeypatch):
    """A copy of the place, to work in, and a folder for packages to be installed to."""
    shutil.copytree(place, tmp_path / "here", symlinks=True)
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("GANFORGE_CACHE", str(cache))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def install(folder, site):
    """Stand-in for pip: modules can be imported, and entry points are found."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"{name} = {module}\n" for name, module in project["entry-points"]["ganforge"].items()]
    (info / "entry_points.txt").write_text("[ganforge]\n" + "".join(points))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            each,
            id=str(each.relative_to(ROOT)),
            marks=pytest.mark.exhaustive if each.stem in LONG or each in RARE else pytest.mark.slow,
        )
        for each in EVERY
        if texts(each)
    ],
)
def test_the_commands_of_a_page_run(page, here, run, seen, monkeypatch):
    if "ganforge explore mix" not in page.read_text():
        shutil.rmtree("runs/00008-stylegan-nonsat-avatars")
    follow(page, here, run, seen, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_where_there_is_no_run_yet(page, here, run, monkeypatch):
    shutil.rmtree("runs")
    follow(page, here, run, set(), monkeypatch)


def follow(page, here, run, seen, monkeypatch):
    """Do what a page says; costly commands that were `seen` are left out."""
    failed = []
    for file, words in commands(page):
        text = " ".join(in_small(" ".join(words[1:]))) if not file else ""
        if file:
            Path(file).parent.mkdir(exist_ok=True)
            Path(file).write_text(words)
            sys.modules.pop(Path(file).parent.name or Path(file).stem, None)
        elif words[0] == "cd":
            monkeypatch.chdir(words[1])
        elif words[0] == "pip":
            folder = Path(words[-1].split("[")[0])
            if (folder / "pyproject.toml").exists():
                monkeypatch.syspath_prepend(str(folder.resolve()))
                install(folder, here.parent / "site")
        elif words[0] != "ganforge":
            assert words[0] in PROGRAMS, f"what is {' '.join(words)}?"
        elif not is_left_out(" ".join(words[1:])) and not (text in seen and re.fullmatch(COSTLY, text)):
            code, _, error = run(*text.split())
            seen.add(text)
            if code:
                failed.append(f"ganforge {text}: {error.strip()}")
    assert not failed, "\n".join(failed)


def is_left_out(text):
    return text in NAMES or any(re.fullmatch(pattern, text) for pattern in NOT_RUN)


def test_nothing_is_left_out_that_no_page_speaks_of():
    said = [text for page in EVERY for text in texts(page)]
    called = {words[0] for page in EVERY for file, words in commands(page) if not file}
    assert {*said} >= NAMES
    assert PROGRAMS.keys() <= called
    assert not [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, text) for text in said)]
    assert not [pattern for pattern in STANDS_FOR if not any(re.search(pattern, text) for text in said)]


@pytest.mark.parametrize("page", EVERY, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_are_what_they_are_said_to_be(page, run, tmp_path):
    for language, code in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        assert language in {"python", "sh", "toml", "json", "yaml", "cpp", ""}
        if language == "python":
            compile(code, str(page), "exec")
        elif language == "json":
            [json.loads(line) for line in code.splitlines()]
        elif language == "yaml":
            assert all("kind" in each for each in pytest.importorskip("yaml").safe_load_all(code))
        elif language == "toml" and "project" not in tomllib.loads(code):
            (tmp_path / "run.toml").write_text(code)
            assert run("train", "--config", tmp_path / "run.toml", "--dry-run")[0] == 0
        elif not language:
            assert not re.match(rf"(ganforge|{'|'.join(map(re.escape, PROGRAMS))}) ", code), f"mark it as sh: {code}"
    if scripts := "".join(blocks(page, "sh")):
        assert subprocess.run(["sh", "-n"], input=scripts, text=True, check=False).returncode == 0


@pytest.mark.exhaustive
def test_cpp_in_the_docs_compiles(tmp_path):
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("needs a C++ compiler")
    parts = ['#include "ganforge.hpp"\n#include <torch/script.h>\n']
    for number, code in enumerate(code for page in EVERY for code in blocks(page, "cpp")):
        rest = re.sub(r"^#include .*\n", "", code, flags=re.MULTILINE)
        body = rest if "int main()" in rest else f"void part() {{\n{rest}}}\n"
        parts.append(f"namespace part{number} {{\n{body}}}\n")
    (tmp_path / "docs.cpp").write_text("".join(parts))
    include = Path(torch.__file__).parent / "include"
    found = ["-I", ROOT / "ganforge/export/cpp", "-isystem", include, "-isystem", include / "torch/csrc/api/include"]
    done = subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", *map(str, found), tmp_path / "docs.cpp"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
