"""`ganforge explore`: the same command writes the same bytes, its JSON repeats it, a mistake is one line."""

import hashlib
import json

import pytest
import torch
from PIL import Image

from ganforge.cli.explore.mix import print_shares
from ganforge.explore import Following
from ganforge.explore.mixing import THIRDS
from ganforge.runs.checkpoint import read_tensors

PLUGIN = '''
import torch
from torch import nn
from ganforge import Dataset, Generator, Recipe, StyleGenerator, hookimpl


class Stripes(StyleGenerator):
    """Each layer makes a row of a grey 4 x 4 image."""

    def __init__(self, data, *, z_dim: int = 3):
        super().__init__()
        self.z_dim, self.w_dim, self.num_styles = z_dim, 3, 4
        self.to_w = nn.Linear(z_dim, 3)
        self.rows = nn.ModuleList(nn.Linear(3, 4) for _ in range(4))
        self.maps = nn.Conv2d(1, 2, 3, padding=1, stride=2)

    def mapping(self, z, labels=None, truncation: float = 1.0, cutoff: int = -1):
        return truncation * self.to_w(z)[:, None].repeat(1, 4, 1)

    def synthesis(self, w, noise: str = "fixed"):
        images = torch.stack([row(w[:, index]) for index, row in enumerate(self.rows)], dim=1)[:, None] * 0.3
        images = images + 0 * self.maps(images).mean()
        return images + 0.1 * torch.randn(images.shape) * (noise == "random")


class Halves(Generator):
    """The top of a grey 4 x 4 image shows the first number of z, the bottom the second."""

    def __init__(self, data, *, z_dim: int = 2):
        super().__init__()
        self.z_dim = z_dim
        self.scale = nn.Parameter(torch.tensor(0.2))

    def forward(self, z, labels=None):
        return (self.scale * z[:, :2])[:, None, :, None].repeat_interleave(2, dim=2).expand(-1, 1, 4, 4)


class Quarters(Dataset):
    """Grey 4 x 4 images; the label tells whether the top is bright and, twice that, whether the bottom is."""

    class_names = ("dark", "top", "bottom", "bright")
    attribute_names = ("top", "bottom")

    def __init__(self, *, count: int = 64):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = torch.full((4, 4), 90, dtype=torch.uint8)
        image[:2] += 60 * (index % 2)
        image[2:] += 60 * (index // 2 % 2)
        return image, index % 4


class Plain(Quarters):
    """The same without labels."""

    class_names = ()
    attribute_names = ()


@hookimpl
def ganforge_generators():
    return {"stripes": Stripes, "halves": Halves}


@hookimpl
def ganforge_datasets():
    return {"quarters": Quarters, "plain": Plain}


@hookimpl
def ganforge_recipes():
    return {"striped": Recipe("", "", {"generator": {"name": "stripes"}})}
'''


@pytest.fixture
def trained(run, here):
    """A function that trains a generator for a moment and gives its run."""
    (here / "tiny.py").write_text(PLUGIN)

    def train(generator, *options):
        arguments = ["--plugin", "tiny.py", "--arch", "mlp", "--generator", generator, "--data", "quarters"]
        small = ["--images", "8", "--batch", "8", "--set", "discriminator.hidden=4", "--device", "cpu"]
        code, out, err = run("train", *arguments, *small, *options)
        assert code == 0, err
        return here / out.strip()

    return train


@pytest.fixture
def judged(monkeypatch):
    """The classifier of every run reads the class from brightness."""

    class Judge:
        def predict(self, images):
            return ((images[:, 0, ::2, 0] > 127) * torch.tensor([1, 2])).sum(1)

        def describe(self):
            return {"architecture": "brightness"}

    monkeypatch.setattr("ganforge.evaluation.classes.open_for_classes", lambda run, file, reporter: Judge())


COMMANDS = {
    "walk": ["--from-seeds", "1,5,9", "--steps", "3"],
    "walk in z": ["--space", "z", "--interpolation", "lerp", "--seed", "7", "--steps", "2", "--to", "other/walk.webp"],
    "mix": ["--rows", "1,2", "--columns", "3,4,5", "--layers", "1-2"],
    "mix by name": ["--layers", "fine"],
    "mix measured": ["--measure", "5", "--seed", "3"],
    "truncation": ["--psi", "1,0.5,-0.5", "--count", "2"],
    "noise": ["--count", "2", "--draws", "4"],
    "arith": ["--a", "1,2,3", "--b", "4,5", "--c", "6"],
    "arith in some layers": ["--a", "1,2,3", "--b", "4,5", "--c", "6", "--layers", "middle"],
    "project": ["--index", "2", "--steps", "4"],
    "project a file": ["--image", "photo.png", "--steps", "4", "--rate", "0.1", "--to", "found.gif"],
    "directions": ["--count", "2", "--strengths", "-2,0,2"],
    "directions by pca": ["--method", "pca", "--count", "3"],
    "drag": ["--point", "1,0:2,0", "--steps", "2", "--seed", "4"],
    "project files": ["--image", "photo.png", "--image", "photos", "--space", "w+", "--steps", "2"],
    "directions of a code": ["--code", "CODE", "--count", "2"],
    "directions of attributes": ["--code", "CODE", "--attributes", "bottom,top", "--candidates", "200"],
    "mix a code": ["--rows", "CODE", "--columns", "3,CODE", "--layers", "0"],
    "walk to a code": ["--from-seeds", "1,CODE", "--steps", "2"],
    "truncation of codes": ["--code", "CODE", "--code", "CODE"],
    "drag a code": ["--code", "CODE", "--point=1,1:1,3", "--point=0,0:0,1", "--steps=2", "--to", "drag.gif"],
    "noise of a code": ["--code", "CODE", "--draws", "2"],
    "arith with a code": ["--attribute", "bottom", "--c", "CODE", "--candidates", "200"],
}


@pytest.mark.slow
def test_every_command_repeats_itself_from_its_json(run, here, trained, judged):
    folder = trained("stripes")
    Image.new("RGB", (9, 7), (120, 130, 140)).save(here / "photo.png")
    (here / "photos").mkdir()
    Image.new("L", (4, 6), 99).save(here / "photos/gray.png")
    second = str(folder / "explore/project-2.safetensors")  # the code of the second image
    for name, options in COMMANDS.items():
        options = [each.replace("CODE", second) for each in options]
        command = ["--plugin", "tiny.py", "explore", name.split()[0], folder, *options]
        code, out, err = run(*command)
        assert code == 0, f"{name}: {err}"
        target = here / out.splitlines()[-1]
        beside = target.with_suffix(".json")
        picture, text = target.read_bytes(), beside.read_bytes()
        record = json.loads(text)
        assert record["picture"] == {"file": target.name, "sha256": hashlib.sha256(picture).hexdigest()}
        assert record["generator"]["name"] == "stripes"
        assert record["generator"]["fingerprint"] == read_tensors(folder / "generator.safetensors")[1]["digest"]
        with Image.open(target) as opened:
            assert min(opened.size) >= 64
        target.unlink()
        beside.unlink()
        code, _, err = run(*record["arguments"])
        assert code == 0, f"{name}: {err}"
        assert (target.read_bytes(), beside.read_bytes()) == (picture, text), name


def test_the_json_says_what_the_picture_shows(run, trained):
    folder = trained("stripes")

    def explore(command, *options):
        code, _, err = run("--plugin", "tiny.py", "explore", command, *options)
        assert code == 0, err
        return json.loads((folder / "explore" / f"{command}.json").read_text())

    walked = explore("walk", "--from-seeds", "4,2", "--steps", "3")
    assert (walked["seeds"], walked["frames"], walked["space"]) == ([4, 2], 6, "w")
    mixed = explore("mix", "--rows", "4", "--columns", "2,3", "--layers", "coarse")
    assert (mixed["rows"], mixed["columns"], mixed["layers_from_b"]) == ([4], [2, 3], [0])
    moved = explore("arith", "--a", "1", "--b", "2", "--c", "3", "--layers", "2-3")
    assert (moved["space"], moved["layers"]) == ("w", [2, 3])
    assert "layers" not in explore("arith", "--a", "1", "--b", "2", "--c", "3")
    assert explore("truncation", "--seed", "5", "--count", "2")["seeds"] == [5, 6]
    noise = explore("noise", "--draws", "50", "--count", "1")
    assert noise["mean_deviations"][0] == pytest.approx(0.1, rel=0.2)
    projected = explore("project", "--index", "1", "--steps", "20", "--space", "w+")
    (found,) = projected["projections"]
    assert (found["image"], found["latent"], len(found["losses"])) == ("image 1", "project.safetensors", 21)
    assert found["loss"] == min(found["losses"])
    code = folder / "explore" / "project.safetensors"
    tensors, card = read_tensors(code)
    assert tensors["latent"].shape == (4, 3)
    assert (card["kind"], card["space"], card["generator"]) == ("latent", "w+", projected["generator"]["fingerprint"])
    assert explore("mix", "--rows", f"3,{code}", "--columns", "1")["rows"] == [3, str(code)]
    assert explore("truncation", "--code", code)["seeds"] == [str(code)]


def test_features_of_an_extractor_add_to_the_loss_of_a_projection(run, here, trained):
    folder = trained("halves")
    (here / "mean.py").write_text(EXTRACTOR)
    command = ["--plugin", "tiny.py", "--plugin", "mean.py", "explore", "project", "--index=1", "--steps=2"]
    losses = []
    for options in ([], ["--features", "mean:scale=2"], ["--features", "mean", "--feature-weight", "3"]):
        code, out, err = run(*command, *options)
        assert code == 0, err
        assert out.startswith("image 1: "), out
        record = json.loads((folder / "explore" / "project.json").read_text())
        losses.append(record["projections"][0]["losses"][0])
    # The distance is relative: the scale of the features does not count.
    assert losses[1] > losses[0]
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-3)


def test_a_plugin_aligns_photographs(run, here, trained):
    folder = trained("halves")
    (here / "corner.py").write_text(ALIGNER)
    picture = Image.new("L", (8, 12), 60)
    picture.paste(200, (0, 0, 2, 2))
    picture.save(here / "photo.png")
    command = ["--plugin", "tiny.py", "--plugin", "corner.py", "explore", "project", "--image=photo.png", "--steps=40"]
    shades = {}
    for aligner in ("center", "corner:edge=2"):
        code, _, err = run(*command, "--rate=0.2", "--align", aligner)
        assert code == 0, err
        with Image.open(folder / "explore/project.png") as shown:
            shades[aligner] = shown.getpixel((20, 40))[0]  # the target is the first column
    assert shades == {"center": 60, "corner:edge=2": 200}
    code, _, err = run(*command, "--align", "corner:edge=99")
    assert code == 2
    assert "aligner 'corner' of plugin 'corner' failed: ZeroDivisionError" in err


ALIGNER = """
from ganforge import Aligner, hookimpl


class Corner(Aligner):
    def __init__(self, *, edge: int = 1):
        self.edge = edge

    def align(self, image, size):
        return image.crop((0, 0, self.edge, self.edge)) if self.edge < 99 else 1 / 0


@hookimpl
def ganforge_aligners():
    return {"corner": Corner}
"""

EXTRACTOR = """
from ganforge import Extractor, hookimpl


class Mean(Extractor):
    label, preprocessing = "mean", "none"

    def __init__(self, data, *, scale: float = 1.0):
        super().__init__()
        self.scale = scale

    def forward(self, images):
        return self.scale * images.float().mean((1, 3)), None


@hookimpl
def ganforge_extractors():
    return {"mean": Mean}
"""


def test_arithmetic_by_attribute_is_measured(run, trained, judged):
    folder = trained("halves", "--set", "optimizer.generator_lr=0")
    options = ["--attribute", "bottom", "--candidates", "600", "--measure", "300"]
    code, out, err = run("--plugin", "tiny.py", "explore", "arith", *options)
    assert code == 0, err
    record = json.loads((folder / "explore" / "arith.json").read_text())
    measured = record["measured"]
    assert measured["count"] == 300
    assert measured["gained"] == pytest.approx(0.89, abs=0.07)  # see test_explore.py for the closed form
    assert measured["kept"].keys() == {"top"}
    assert measured["kept"]["top"] > 0.9
    assert f"{measured['gained']:.2%} of 300 images without 'bottom'" in out
    assert record["attribute"] == "bottom"
    assert record["classifier"] == {"architecture": "brightness"}
    assert not set(record["seeds"]["b"]) & set(record["seeds"]["c"])
    assert max(map(len, record["seeds"].values())) == 6


def test_the_layers_that_make_an_attribute_are_measured(run, trained, judged):
    folder = trained("stripes", "--set", "optimizer.generator_lr=0")
    command = ["--plugin", "tiny.py", "explore", "mix", "--seed", "4", "--measure"]
    code, out, err = run(*command, "200")
    assert code == 0, err
    record = json.loads((folder / "explore" / "mix.json").read_text())
    assert record["classifier"] == {"architecture": "brightness"}
    measured = record["measured"]
    assert measured["seeds"] == [4, 403]
    found = {each["name"]: each for each in measured["follows_b"]}
    assert list(found) == ["top", "bottom", "colour", "layout"]
    # The judge reads rows 0 and 2, and each layer makes one row.
    assert found["top"]["layers"] == [1, 0, 0, 0]
    assert found["top"]["thirds"] == {"coarse": 1, "middle": 0, "fine": 0}
    assert found["bottom"]["layers"] == [0, 0, 1, 0]
    assert found["bottom"]["thirds"] == {"coarse": 0, "middle": 1, "fine": 0}
    heading, *rows = [line.split() for line in out.splitlines()[:5]]
    assert heading == ["follows", "B", "in", "coarse", "0", "middle", "1-2", "fine", "3", "pairs"]
    assert rows[0] == ["top", "100.0%", "0.0%", "0.0%", str(found["top"]["num_differing"])]
    shares = [f"{share:.1%}" for share in found["layout"]["thirds"].values()]
    assert rows[3] == ["layout", *shares, "200"]


def test_data_without_attributes_have_a_table_of_colour_and_layout(run, trained):
    folder = trained("stripes", "--data", "plain")
    command = ["--plugin", "tiny.py", "explore", "mix", "--measure", "4"]
    code, out, err = run(*command)
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["follows", "colour", "layout"]
    record = json.loads((folder / "explore" / "mix.json").read_text())
    assert [each["name"] for each in record["measured"]["follows_b"]] == ["colour", "layout"]
    assert "classifier" not in record
    code, _, err = run(*command, "--classifier", "a.safetensors")
    assert code == 2
    assert "--classifier a.safetensors: plain declares no attributes" in err


def test_what_differs_in_no_pair_has_no_share(capsys):
    print_shares([Following("[top]", 0, dict.fromkeys(THIRDS), [None] * 4)], 4)
    assert capsys.readouterr().out.splitlines()[1].split() == ["[top]", "-", "-", "-", "0"]


MISTAKES = {
    "walk without a run": (["walk", "nonsense"], "run not found"),
    "one seed": (["walk", "--from-seeds", "1"], "at least two seeds"),
    "seeds that are none": (["walk", "--from-seeds", "1,x"], "'x' is not a whole number"),
    "a negative seed": (["walk", "--from-seeds=-1,2"], "too small"),
    "no steps": (["walk", "--steps", "0"], "the least is 1"),
    "an unknown interpolation": (["walk", "--interpolation", "slrp"], "did you mean 'slerp'"),
    "an unknown space": (["walk", "--space", "x"], "choose z, w or w+"),
    "w without styles": (["walk", "--space", "w"], "--arch striped"),
    "a video": (["walk", "--to", "walk.mp4"], "ffmpeg -i walk.gif"),
    "a still walk": (["walk", "--to", "walk.png"], "use .gif or .webp"),
    "a table that moves": (["arith", "--a", "1", "--b", "2", "--c", "3", "--to", "a.gif"], "use .png"),
    "mix without styles": (["mix"], "Halves has no styles"),
    "a classifier of nothing": (["mix", "--classifier", "a.safetensors"], "give --measure too"),
    "a measure of no pairs": (["mix", "--measure", "0"], "the least is 1"),
    "layers in z": (["arith", "--attribute", "top", "--layers", "coarse", "--space", "z"], "z have no layers"),
    "layers without styles": (["arith", "--a", "1", "--b", "2", "--c", "3", "--layers", "0"], "--arch striped"),
    "noise without styles": (["noise"], "--arch striped"),
    "one draw of noise": (["noise", "--draws", "1"], "the least is 2"),
    "truncation without it": (["truncation"], "Halves does not support truncation"),
    "psi that is none": (["truncation", "--psi", "1,,0"], "'' is not a finite number"),
    "arithmetic with nothing": (["arith"], "--a is missing"),
    "arithmetic with too little": (["arith", "--a", "1", "--c", "2"], "--b is missing"),
    "seeds and attribute": (["arith", "--a", "1", "--attribute", "top"], "those of the attribute"),
    "an unknown attribute": (["arith", "--attribute", "tpo"], "did you mean 'top'"),
    "a measure without attribute": (["arith", "--a", "1", "--b", "2", "--c", "3", "--measure", "9"], "--attribute"),
    "nothing to project": (["project"], "--image PATH"),
    "two things to project": (["project", "--image", "a.png", "--index", "1"], "--image PATH"),
    "an image that is not there": (["project", "--image", "absent.png"], "absent.png"),
    "a drag of nothing": (["drag"], "--point is missing"),
    "a drag without a target": (["drag", "--point", "1,2"], "not a handle and its target"),
    "a drag without styles": (["drag", "--point", "1,2:1,3"], "--arch striped"),
    "an empty folder to project": (["project", "--image", "runs"], "runs holds no images"),
    "a weight of no features": (["project", "--index", "1", "--feature-weight", "2"], "give --features NAME"),
    "weights of no LPIPS": (["project", "--index", "1", "--lpips-weights", "."], "give --features lpips"),
    "LPIPS of small images": (["project", "--index", "1", "--features", "lpips"], "images are 4x4"),
    "unknown features": (["project", "--index", "1", "--features", "lpisp"], "unknown extractor 'lpisp'"),
    "noise without noise maps": (["project", "--index", "1", "--noise"], "has no noise maps"),
    "a code that is not there": (["walk", "--from-seeds", "1,absent.safetensors"], "absent.safetensors: no such file"),
    "a generator as a code": (
        ["directions", "--count", "2", "--code", "runs/00000-mlp-nonsat-quarters/generator.safetensors"],
        "not the code of an image",
    ),
    "a classifier of no attributes": (["directions", "--classifier", "a.safetensors"], "give --attributes too"),
    "directions of unknown attributes": (["directions", "--attributes", "tpo"], "did you mean 'top'"),
    "an image beyond the last": (["project", "--index", "64"], "the last is 63"),
    "a rate of nothing": (["project", "--index", "1", "--rate", "0"], "must be positive"),
    "more directions than there are": (["directions"], "from 1 to 2"),
    "an unknown method": (["directions", "--method", "pac"], "did you mean 'pca'"),
    "components of z": (["directions", "--method", "pca", "--space", "z"], "in all directions"),
    "components without styles": (["directions", "--method", "pca"], "has no styles"),
    "an unknown class": (["walk", "--class", "tpo"], "did you mean 'top'"),
}


@pytest.mark.slow
def test_a_mistake_is_one_line_and_exit_code_2(run, here, trained):
    trained("halves")
    before = sorted(here.rglob("*"))
    for name, (arguments, expected) in MISTAKES.items():
        code, out, err = run("--plugin", "tiny.py", "explore", *arguments)
        assert code == 2, name
        assert expected in err, f"{name}: {err}"
        assert out == "", name
        (line,) = [line for line in err.splitlines() if not line.startswith("run: ")]
        assert line.startswith("error: "), name
        assert sorted(here.rglob("*")) == before, name


def test_vectors_are_refused_in_words(run, here):
    small = ["--images", "8", "--batch", "8", "--set", "generator.hidden=4", "--set", "discriminator.hidden=4"]
    assert run("train", "--arch", "mlp", "--data", "ring-8", "--set", "data.count=50", *small)[0] == 0
    code, _, err = run("explore", "walk")
    assert code == 2
    assert "makes vectors of 2 numbers, not images" in err.splitlines()[-1]


def test_layers_that_a_generator_lacks_are_refused(run, trained):
    trained("stripes")
    code, _, err = run("--plugin", "tiny.py", "explore", "arith", "--a=1", "--b=2", "--c=3", "--layers", "3-4")
    assert code == 2
    assert "invalid layers '3-4'" in err
    assert "this generator has layers 0-3" in err


def test_data_without_attributes_ask_for_seeds(run, here, image_folder):
    small = ["--images", "8", "--batch", "8", "--set", "generator.width=2", "--set", "discriminator.width=2"]
    assert run("train", "--data", image_folder, *small)[0] == 0
    code, _, err = run("explore", "arith", "--attribute", "hat")
    assert code == 2
    assert "photos declares no attributes" in err
    assert "--a 1,2,3 --b 4,5,6 --c 7,8,9" in err
