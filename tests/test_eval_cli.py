import hashlib
import json
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

import ganforge
from ganforge import FeatureMetric
from ganforge.builtin.metrics import Memorization
from ganforge.data.patches import PatchDistance
from ganforge.evaluation.extractors import inception
from ganforge.evaluation.extractors.user import TorchScriptExtractor
from ganforge.evaluation.results.result import read_rows
from ganforge.evaluation.statistics import Moments, frechet_distance
from ganforge.runs.checkpoint import digest_tensors, read_card, read_tensors

FILE = "evaluations.jsonl"


def save_images(folder, count, seed, darkest=0):
    source = np.random.default_rng(seed)
    folder.mkdir()
    for index in range(count):
        pixels = source.integers(darkest, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return folder


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.see = nn.Linear(192, 4)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.see(images.flatten(1))
        return features, features[:, :3] * 5


@pytest.fixture
def place(here):
    """Two folders of images, and two networks: one gives features, the other one logits too."""
    save_images(here / "reals", 40, 1)
    save_images(here / "fakes", 30, 2, darkest=60)
    torch.manual_seed(0)
    torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(192, 4))).save("plain.pt")
    torch.jit.script(Pair()).save("pair.pt")
    return here


@pytest.fixture
def shown(monkeypatch):
    """Numbers of images that pass through the networks."""
    counts, forward = [], TorchScriptExtractor.forward

    def counting(self, images):
        counts.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(TorchScriptExtractor, "forward", counting)
    return counts


def rows_in(folder):
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def label_of(path):
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def evaluate(run, *arguments):
    code, out, err = run("eval", *arguments, "--device", "cpu", "--json")
    assert code == 0, err
    return json.loads(out)


def mistake(code, out, err):
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, out, len(lines), "Traceback" in err) == (2, "", 1, False), err
    return lines[0]


@pytest.fixture
def trained(place, run):
    """A run on the real images, some of which were held out."""
    settings = ["training.holdout=0.3", "generator.hidden=8", "discriminator.hidden=8"]
    flags = [part for each in settings for part in ("--set", each)]
    code, out, err = run(
        "train", "--arch", "mlp", "--data", "reals", "--images", "64", "--batch", "16", "--device", "cpu", *flags
    )
    assert code == 0, err
    return place / out.strip()


def test_a_folder_is_compared_with_a_folder_by_a_network_of_the_users(place, run):
    code, out, err = run("eval", "fakes", "--data", "reals", "--fid", "--extractor", "plain.pt", "--split", "all")
    assert code == 0, err
    (row,) = rows_in(place)
    metric = f"fd_{label_of(place / 'plain.pt')}"
    assert (row["metric"], row["better"]) == (metric, "lower")
    network = torch.jit.load("plain.pt")
    features = []
    for folder in ("reals", "fakes"):
        pixels = np.stack([np.asarray(Image.open(path)) for path in sorted((place / folder).iterdir())])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        features.append(network(images).detach().double())
    assert row["value"] == pytest.approx(frechet_distance(*map(Moments.of, features)), rel=1e-5)
    assert f"{metric:36} {row['value']:.6g} [" in out
    assert "note: fewer than 10,000 images" in err
    assert str(place / FILE) in err.replace("\n", "")


def test_a_row_holds_all_that_it_must_be_quoted_with(place, run):
    (row,) = evaluate(run, "fakes", "--data", "reals", "--kid", "--extractor", "pair.pt", "--references", "25")
    assert rows_in(place) == [row]
    assert row.keys() == {
        "metric", "value", "interval", "better", "details", "protocol", "subject", "circumstances", "notes",
    }  # fmt: skip
    sha256 = hashlib.sha256((place / "pair.pt").read_bytes()).hexdigest()
    expected = {
        "extractor": f"pair-{sha256[:8]}", "weights_sha256": sha256, "preprocessing": "none, images of 8x8, signed",
        "dtype": "float32", "num_samples": 30, "num_references": 25, "split": "train", "holdout": 0.0,
        "images": "8x8 with 3 channels", "truncation": 1.0, "subset_size": 25, "subsets": 100,
    }  # fmt: skip
    assert expected.items() <= row["protocol"].items()
    assert row["protocol"].keys() - expected.keys() == {"data_fingerprint", "references"}
    assert row["interval"].keys() == {"value", "low", "high", "level"}
    assert {"kind": "images", "name": "fakes"}.items() <= row["subject"].items()
    assert len(row["subject"]["digest"]) == 64
    assert row["circumstances"].keys() == {"seed", "device", "data", "versions", "date"}
    assert row["circumstances"]["data"] == "reals"
    assert [each.to_json() | {"notes": []} for each in read_rows(place / FILE)] == [row]


def test_several_metrics_of_several_folders_look_at_each_image_once(place, run, shown):
    save_images(place / "others", 30, 3)
    flags = ["--data", "reals", "--fid", "--kid", "--is", "--prc", "--extractor", "pair.pt"]
    rows = evaluate(run, "fakes", "others", *flags)
    assert sum(each for each in shown if each > 1) == 40 + 30 + 30  # and black ones, to see what it gives
    names = [row["metric"].split("_")[0] for row in rows]
    assert names == ["fd", "kd", "is", "precision", "recall", "density", "coverage"] * 2
    assert [row["subject"]["name"] for row in rows] == ["fakes"] * 7 + ["others"] * 7
    assert rows_in(place) == rows
    shown.clear()
    again = evaluate(run, "fakes", "others", *flags)
    assert [row["value"] for row in again] == [row["value"] for row in rows]
    assert [row["interval"] for row in again] == [row["interval"] for row in rows]
    assert set(shown) <= {1}
    assert len(rows_in(place)) == 28


def test_all_leaves_out_with_a_word_what_cannot_be_had(place, run):
    code, out, err = run("eval", "fakes", "--data", "reals", "--all", "--extractor", "plain.pt")
    assert code == 0, err
    label, told = label_of(place / "plain.pt"), " ".join(err.split())
    assert f"without --is: --is: extractor '{label}' is no classifier" in told
    assert "without --ppl: --ppl is a metric of runs" in told
    assert "without --modes: " in told
    found = {row["metric"] for row in rows_in(place)}
    assert {f"{each}_{label}" for each in ("fd", "fd-infinity", "kd", "precision", "coverage")} <= found
    assert all(metric in out for metric in found)


def test_what_all_metrics_lack_is_looked_for_once(place, run, monkeypatch):
    asked = []

    def offline(address, **_):
        asked.append(address)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("TORCH_HOME", str(place / "torch"))
    monkeypatch.delenv(inception.VARIABLE, raising=False)
    code, out, err = run("eval", "fakes", "--data", "reals", "--all")
    assert (code, out, asked) == (2, "", [inception.URL])
    told = " ".join(err.split())
    assert told.count("FID needs weights-inception-2015-12-05-6726825d.pth") == 1
    assert "without --fid, --fid-infinity, --kid, --is, --prc, --memorization, --authenticity: FID needs" in told
    assert "error: no metric could be computed" in told


def test_a_run_on_photographs_is_measured_without_pretrained_weights(place, run):
    small = ["--set", "generator.width=4", "--set", "discriminator.width=4", "--batch", "4", "--device", "cpu"]
    code, _, err = run("train", "--data", "reals", "--images", "8", "--arch", "dcgan", *small)
    assert code == 0, err
    (row,) = evaluate(run, "0", "--patch-distance", "--samples", "20")
    assert (row["metric"], row["better"]) == ("patch_distance", "lower")
    assert (row["protocol"]["num_samples"], row["protocol"]["references"]) == (20, 20)
    generator, images = ganforge.load(next((place / "runs").iterdir())), torch.from_numpy(np.stack(
        [np.asarray(Image.open(place / "reals" / f"{index:03}.png")) for index in range(40)]
    ))  # fmt: skip
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:20].sort().values
    reals = images[order].permute(0, 3, 1, 2) / 127.5 - 1
    assert row["value"] == PatchDistance(reals)(ganforge.generate(generator, 20, seed=0))


def test_a_mistake_in_the_last_shows_before_the_first_is_evaluated(place, run, shown):
    said = mistake(*run("eval", "fakes", "nobody", "--data", "reals", "--fid", "--extractor", "plain.pt"))
    assert "nobody: run not found" in said
    assert (shown, (place / FILE).exists()) == ([], False)


def test_where_samples_are_only_searched_for_fewer_are_drawn(place, run, monkeypatch):
    monkeypatch.setattr(Memorization, "samples", 22)
    monkeypatch.setattr(FeatureMetric, "samples", 28)
    flags = ["fakes", "--data", "reals", "--extractor", "plain.pt", "--memorization"]
    assert [row["protocol"]["num_samples"] for row in evaluate(run, *flags)] == [22]
    assert {row["protocol"]["num_samples"] for row in evaluate(run, *flags, "--kid")} == {28}


def test_a_changed_pixel_and_another_split_are_other_features(place, run, shown):
    flags = ["fakes", "--data", "reals", "--fid", "--extractor", "plain.pt"]
    (before,) = evaluate(run, *flags)
    shown.clear()
    pixels = np.asarray(Image.open(place / "reals" / "007.png")).copy()
    pixels[3, 4, 1] ^= 128
    Image.fromarray(pixels).save(place / "reals" / "007.png")
    (after,) = evaluate(run, *flags)
    assert sum(shown) == 40
    assert after["value"] != before["value"]
    assert after["protocol"]["data_fingerprint"] != before["protocol"]["data_fingerprint"]
    assert after["subject"]["digest"] == before["subject"]["digest"]
    shown.clear()
    (some,) = evaluate(run, *flags, "--references", "20", "--seed", "3")
    assert (some["protocol"]["num_references"], sum(shown)) == (20, 20 + 30)
    (again,) = evaluate(run, *flags, "--references", "20", "--seed", "4")
    assert again["protocol"] == some["protocol"]  # the same real images, so that seeds can be compared


def test_a_run_is_compared_with_what_it_was_shown_or_with_what_was_held_out(place, run, trained):
    flags = [trained, "--kid", "--extractor", "plain.pt", "--samples", "20"]
    (train,) = evaluate(run, *flags)
    (held_out,) = evaluate(run, *flags, "--split", "held-out")
    (whole,) = evaluate(run, *flags, "--split", "all")
    counts = [row["protocol"]["num_references"] for row in (train, held_out, whole)]
    assert counts[0] + counts[1] == counts[2] == 40
    assert min(counts) > 4
    assert [row["protocol"]["split"] for row in (train, held_out, whole)] == ["train", "held-out", "all"]
    assert [row["protocol"].get("holdout") for row in (train, held_out, whole)] == [0.3, 0.3, None]
    assert len({row["value"] for row in (train, held_out, whole)}) == 3
    assert rows_in(trained) == [train, held_out, whole]
    (other,) = evaluate(run, *flags, "--data", "fakes")
    assert (other["protocol"]["holdout"], other["protocol"]["num_references"]) == (0.0, 30)
    said = mistake(*run("eval", *flags, "--data", "fakes", "--split", "held-out"))
    assert "--split held-out: fakes has no held-out examples" in said
    assert "training.holdout" in said


def test_the_weights_as_trained_are_told_from_their_average(place, run, trained, shown):
    flags = [trained, "--kid", "--extractor", "plain.pt", "--samples", "20"]
    (averaged,), (raw,) = evaluate(run, *flags), evaluate(run, *flags, "--raw")
    assert [row["subject"]["weights"] for row in (averaged, raw)] == ["averaged", "raw"]
    assert averaged["subject"]["digest"] == read_card(trained / "generator.safetensors")["digest"]
    checkpoint = max((trained / "checkpoints").iterdir())
    tensors, _ = read_tensors(checkpoint)
    mine = {name.removeprefix("generator/"): each for name, each in tensors.items() if name.startswith("generator/")}
    assert raw["subject"]["digest"] == digest_tensors(mine) != averaged["subject"]["digest"]
    assert [row["subject"]["images_seen"] for row in (averaged, raw)] == [64, 64]
    assert averaged["protocol"] == raw["protocol"]
    assert averaged["value"] != raw["value"]
    (newest,) = evaluate(run, *flags[1:])
    assert newest["value"] == averaged["value"]
    (seeded,) = evaluate(run, *flags, "--seed", "5")
    assert seeded["circumstances"]["seed"] == 5
    assert seeded["value"] != averaged["value"]


def test_a_run_has_metrics_by_features_and_by_its_latents_in_one_go(run, trained):
    rows = evaluate(run, trained, "--all", "--extractor", "plain.pt", "--samples", "20")
    names = {row["metric"].split("_")[0] for row in rows}
    assert {"fd", "kd", "precision", "recall", "density", "coverage", "fd-infinity"} <= names
    assert rows == rows_in(trained)


def test_only_published_inception_weights_give_fid(place, run, monkeypatch):
    weights = place / "random.safetensors"
    weights.write_bytes(safetensors.torch.save({"x": torch.zeros(2)}))
    monkeypatch.setattr(inception, "Inception", lambda state, clean: Pair())
    monkeypatch.setattr(inception, "quicken", lambda network: True)
    monkeypatch.setattr(Pair, "forward", lambda self, images: (images.flatten(1)[:, :4].float(), None))
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    flags = ["eval", "fakes", "--data", "reals", "--fid", "--kid", "--inception-weights", weights]
    code, _, err = run(*flags)
    assert code == 0, err
    assert [row["metric"] for row in rows_in(place)] == [f"fd_inception-{sha256[:8]}", f"kd_inception-{sha256[:8]}"]
    assert "nothing made with them is FID" in err
    monkeypatch.setattr(inception, "SHA256", sha256)
    assert run(*flags)[0] == 0
    assert [row["metric"] for row in rows_in(place)[2:]] == ["fid", "kid"]
    assert rows_in(place)[3]["notes"] == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "no metric was named - choose from: --fid, --fid-infinity, --kid"),
        (["--is"], "is no classifier - leave --is out"),
        (["--kid", "--samples", "31"], "--samples 31: fakes has 30 images"),
        (["--kid", "--samples", "1"], "--samples: 1 is too small"),
        (["--kid", "--samples", "3"], "--kid: there are 3 generated images - it needs 4 or more"),
        (["--prc", "--references", "5"], "--prc: there are 5 real images - it needs 6 or more"),
        (["--fid-infinity", "--samples", "18"], "there are 18 generated images - it needs 19 or more"),
        (["--fid", "--split", "test"], "--split test: not found"),
        (["--fid", "--split", "held-out"], "reals has no held-out examples"),
        (["--fid", "--truncation", "0.5"], "these are existing images"),
        (["--fid", "--raw"], "--raw: fakes "),
        (["--fid", "--space", "w"], "--space w: --fid does not use it"),
        (["--fid", "--modes"], "--modes is a metric of runs"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line_before_anything_is_computed(place, run, shown, flags, said):
    assert said in mistake(*run("eval", "fakes", "--data", "reals", "--extractor", "plain.pt", *flags))
    assert set(shown) <= {1}
    assert not (place / FILE).exists()


def test_words_that_nobody_knows_are_told(place, run):
    code, out, err = run("eval", "fakes", "--data", "reals", "--fdi")
    assert (code, out) == (2, "")
    assert "--fdi" in err
    flags = ["eval", "fakes", "--data", "reals", "--fid", "--extractor"]
    assert "inceptoin" in mistake(*run(*flags, "inceptoin"))
    assert "absent.pt" in mistake(*run(*flags, "absent.pt"))
    (place / "broken.pt").write_bytes(b"no network")
    assert "broken.pt: is not TorchScript" in mistake(*run(*flags, "broken.pt"))
    assert "fakes holds images, which need real ones" in mistake(*run("eval", "fakes", "--fid"))


def test_a_network_that_breaks_its_contract_is_named_in_one_line(place, run):
    torch.jit.script(nn.Linear(7, 2)).save("narrow.pt")
    torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(192, 1))).save("thin.pt")
    flags = ["eval", "fakes", "--data", "reals", "--fid", "--extractor"]
    assert "fails for images [40, 3, 8, 8]: RuntimeError: " in mistake(*run(*flags, "narrow.pt"))
    assert "gives [40, 1] as features of 40 images" in mistake(*run(*flags, "thin.pt"))
    assert not (place / FILE).exists()


def test_a_cache_that_cannot_be_written_costs_time_alone(place, run, monkeypatch, shown):
    flags = ["fakes", "--data", "reals", "--fid", "--extractor", "plain.pt"]
    (expected,) = evaluate(run, *flags)
    (place / "file").touch()
    monkeypatch.setenv("GANFORGE_CACHE", str(place / "file" / "cache"))
    for _ in range(2):
        shown.clear()
        code, _, err = run("eval", *flags)
        assert code == 0, err
        assert "is not writable" in " ".join(err.split())
        assert sum(shown) == 70
    assert [row["value"] for row in rows_in(place)] == [expected["value"]] * 3


def test_a_torn_line_is_repaired_by_the_next_evaluation(place, run):
    flags = ["fakes", "--data", "reals", "--fid", "--extractor", "plain.pt"]
    (first,) = evaluate(run, *flags)
    with (place / FILE).open("a") as file:
        file.write('{"metric": "fd_pla')
    (second,) = evaluate(run, *flags)
    assert rows_in(place) == [first, second]


WITNESS = """
import os
import torch
from pathlib import Path
from ganforge import DataSpec, Extractor, hookimpl


class Witness(Extractor):
    "Means of colours; writes down who computes how many."

    label = "witness"
    preprocessing = "none"

    def __init__(self, data: DataSpec, *, book: str = "") -> None:
        super().__init__()
        self.book = book

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.book:
            with Path(self.book).open("a") as file:
                file.write(f"{os.environ.get('RANK', '')} {len(images)}\\n")
        features = images.double().mean((2, 3))
        return features.float(), (features / 9).float() if len(images) else None


@hookimpl
def ganforge_extractors():
    return {"witness": Witness}
"""


@pytest.mark.slow
def test_processes_share_images_out_and_come_to_the_numbers_of_one(place, monkeypatch):
    (place / "witness.py").write_text(WITNESS)
    pixels = np.random.default_rng(3).integers(0, 256, (2100, 8, 8, 3), dtype=np.uint8)
    np.save("many.npy", pixels)
    found, features = {}, {}
    for count in (1, 2):
        cache = place / f"cache-{count}"
        monkeypatch.setenv("GANFORGE_CACHE", str(cache))
        flags = ["--extractor", f"witness:book={place}/book-{count}", "--plugin", "witness.py", "--device", "cpu"]
        command = [sys.executable, "-m", "ganforge", "eval", "fakes", "--data", "many.npy", "--fid", "--is", *flags]
        told = subprocess.run([*command, "--json", "--gpus", str(count)], capture_output=True, text=True, timeout=200)
        assert told.returncode == 0, told.stderr
        found[count] = [(row["metric"], row["value"]) for row in json.loads(told.stdout)]
        features[count] = {path.read_bytes() for path in cache.glob("features/*/features")}
    assert found[1] == found[2]
    assert features[1] == features[2]
    seen = [line.split(" ") for line in (place / "book-2").read_text().splitlines()]
    # Of three parts of the real images the second is the other process's; the 30 generated ones are one part.
    assert sum(int(number) for rank, number in seen if rank == "1") - 1024 in range(5)  # each looks once at few images
    assert sum(int(number) for rank, number in seen if rank == "0") >= 2100 - 1024 + 30
    assert {rank for rank, _ in (line.split(" ") for line in (place / "book-1").read_text().splitlines())} == {""}
