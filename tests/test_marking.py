"""Pictures of generated images say so, by which weights and seeds; others do not."""

import base64
import json
import re
import shutil
import subprocess

import pytest
from marks import GENERATED, MIXED, png_chunks, read_mark

from ganforge import OptionError, __version__, load, open_run
from ganforge.core.images import encode_png
from ganforge.runs.checkpoint import read_card
from ganforge.runs.marking import name_seeds, xmp_packet

SMALL = ["--images", "16", "--batch", "8", "--device", "cpu", "--set", "training.samples=9"]


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """A run of a tiny StyleGAN, trained once."""
    from ganforge import train

    parts = {"generator.width": 4, "generator.w_dim": 8, "generator.mapping_layers": 1, "discriminator.width": 4}
    settings = {**parts, "training.samples": 9, "training.tick_images": 8}
    out = tmp_path_factory.mktemp("runs")
    options = {"arch": "stylegan2", "data": photos, "resolution": 16, "images": 16, "batch": 8, "device": "cpu"}
    return train(**options, settings=settings, out=out, seed=4, quiet=True).path


@pytest.fixture
def trained(finished, here):
    shutil.copytree(finished, here / "runs" / finished.name)
    return here / "runs" / finished.name


def expected(run, prompt, source=GENERATED):
    digest = read_card(run / "generator.safetensors")["digest"]
    return {
        "tool": f"ganforge {__version__}",
        "source": source,
        "system": "ganforge stylegan2",
        "version": f"sha256:{digest}",
        "prompt": prompt,
    }


def test_grids_of_a_run_name_the_weights_that_drew_them(finished):
    first, *_, last = (read_mark(each.read_bytes()) for each in sorted((finished / "samples").glob("0*.png")))
    assert last == expected(finished, "seeds 4-12")
    assert read_mark((finished / "training.gif").read_bytes()) == last
    assert first["version"] != last["version"]
    assert {**first, "version": last["version"]} == last
    assert read_mark((finished / "samples/real.png").read_bytes()) == {}


@pytest.mark.parametrize(
    "options", [["--data", "ring-8", "--set", "data.count=64"], ["--data", "photos", "--no-marking"]]
)
def test_plots_and_grids_without_marking_have_none(run, here, image_folder, options):
    code, out, err = run("train", "--arch", "mlp", *options, *SMALL)
    assert code == 0, err
    config = json.loads((here / out.strip() / "config.json").read_text())
    assert config["training"]["marking"] is ("--no-marking" not in options)
    pictures = [*(here / out.strip()).glob("samples/*.png"), here / out.strip() / "training.gif"]
    assert len(pictures) > 1
    assert [read_mark(each.read_bytes()) for each in pictures] == [{}] * len(pictures)


def test_samples_name_their_seeds(run, trained, here):
    for target in ("grid.png", "singles"):
        assert run("sample", trained, "--count", "3", "--seed", "5", "--to", target)[0] == 0
    assert read_mark((here / "grid.png").read_bytes()) == expected(trained, "seeds 5-7")
    assert read_mark((here / "singles/seed000006.png").read_bytes()) == expected(trained, "seed 6")
    marked = png_chunks((here / "grid.png").read_bytes())
    assert run("sample", trained, "--count", "3", "--seed", "5", "--to", "grid.png", "--no-marking")[0] == 0
    assert png_chunks((here / "grid.png").read_bytes()) == [each for each in marked if each[0] != b"iTXt"]


@pytest.mark.parametrize(
    ("options", "prompt", "source"),
    [
        (["mix", "--rows", "1,2", "--columns", "7", "--to", "a.png"], "seeds 1-2, 7", GENERATED),
        (["walk", "--from-seeds", "1,9", "--steps", "2", "--to", "a.gif"], "seeds 1, 9", GENERATED),
        (["walk", "--from-seeds", "1,9", "--steps", "2", "--to", "a.webp"], "seeds 1, 9", GENERATED),
        (["project", "--index", "1", "--steps", "2", "--to", "a.png"], None, MIXED),
        (["project", "--index", "1", "--steps", "2", "--to", "a.gif"], None, GENERATED),
    ],
)
def test_pictures_of_explore_are_marked_unless_forbidden(run, trained, here, options, prompt, source):
    picture = here / options[-1]
    assert run("explore", *options, trained)[0] == 0
    wanted = expected(trained, prompt, source)
    assert read_mark(picture.read_bytes()) == {name: text for name, text in wanted.items() if text is not None}
    if options[0] == "walk":
        assert run("explore", *options, trained, "--no-marking")[0] == 0
        assert read_mark(picture.read_bytes()) == {}


def test_a_report_keeps_the_marks_and_a_long_packet_is_dropped(run, trained, here):
    (trained / "samples/000000012.png").write_bytes(encode_png(open_run(trained).show(), b"x" * 70_000))
    code, _, err = run("report", trained, "--to", "report.html")
    assert code == 0, err
    page = (here / "report.html").read_text()
    marks = [read_mark(base64.b64decode(text)) for text in re.findall(r"data:image/[a-z]+;base64,([^\"]+)", page)]
    prompts = {each["prompt"] for each in marks if each}
    assert {"seeds 4-12", "seeds 0-15", "seeds 0-7", "seeds 0-3"} <= prompts
    assert [each for each in marks if not each] == [{}] * 2  # of the long packet, and of real examples
    assert expected(trained, "seeds 0-15") in marks


def test_pictures_of_python_are_marked(finished, here):
    picture = open_run(finished).sample(4, seed=2, to="faces.png")
    assert (here / "faces.png").read_bytes() == encode_png(picture, picture.info["xmp"])
    assert read_mark((here / "faces.png").read_bytes()) == expected(finished, "seeds 2-5")
    with pytest.raises(OptionError, match=r"such as faces\.png"):
        open_run(finished).sample(4, to="faces.jpg")
    shown = re.search('base64,([^"]+)', load(finished)._repr_html_())[1]
    assert read_mark(base64.b64decode(shown)) == expected(finished, "seeds 0-15")


def test_names_are_escaped_and_packets_stay_small():
    name, seeds = "<a b=\"'&\x01" * 9, name_seeds(range(2**62, 2**63, 2**58))
    found = read_mark(open_png(xmp_packet({"generator": {"name": name}, "digest": "0" * 64}, seeds)))
    assert found["system"] == f"ganforge {name[:32]}".replace("\x01", "\\x01")
    assert found["prompt"] == ", ".join(
        ["seeds 4611686018427387904", *(str(2**62 + n * 2**58) for n in range(1, 6)), "..."]
    )
    assert read_mark(open_png(xmp_packet({"generator": {"name": "unet"}, "data": {"source_shape": [3, 8, 8]}}))) == {
        "tool": f"ganforge {__version__}",
        "source": MIXED,
        "system": "ganforge unet",
    }
    assert [name_seeds(each) for each in ([], [3], [3, 4, 6], [5, 4])] == ["", "seed 3", "seeds 3-4, 6", "seeds 5, 4"]


def open_png(xmp):
    from PIL import Image

    return encode_png(Image.new("L", (2, 2)), xmp)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is missing")
def test_exiftool_reads_the_marks(run, trained, here):
    for options in (["sample", "--count", "2", "--to", "a.png"], ["explore", "walk", "--steps", "1", "--to", "a.gif"]):
        assert run(*options, trained)[0] == 0
    assert run("explore", "walk", "--steps", "1", "--to", "a.webp", trained)[0] == 0
    names = ["-XMP-iptcExt:DigitalSourceType#", "-XMP-xmp:CreatorTool", "-XMP-iptcExt:AISystemVersionUsed"]
    done = subprocess.run(["exiftool", "-json", *names, "a.png", "a.gif", "a.webp"], capture_output=True, check=True)
    wanted = expected(trained, "")
    for found in json.loads(done.stdout):
        assert found["DigitalSourceType"] == GENERATED, found
        assert found["CreatorTool"] == wanted["tool"]
        assert found["AISystemVersionUsed"] == wanted["version"]
