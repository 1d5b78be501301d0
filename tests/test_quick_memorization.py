"""Runs on few images measure whether their samples are copies: in rows, at scores, in the report and at the end."""

import json
import re

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from ganforge.builtin.avatars import Avatars
from ganforge.config.schema import TrainingConfig
from ganforge.core.images import to_float
from ganforge.data.advice import FEW
from ganforge.data.store import PackedData
from ganforge.report.numbers import curves_section
from ganforge.report.reading import read_runs
from ganforge.report.summary import summary_section
from ganforge.runs.folder import RunFolder
from ganforge.training.budget import BudgetObserver
from ganforge.training.recording.memorization import LEAST, Memorization
from ganforge.training.recording.verdict import COPIED

PLAIN = [
    "--device", "cpu", "--engine", "eager", "--precision", "float32", "--set", "training.layout=contiguous",
    "--set", "training.threads=1", "--set", "training.samples=16", "--batch", "8", "--set", "generator.width=4",
    "--set", "discriminator.width=4",
]  # fmt: skip


def pack(images, **more):
    return PackedData("test", images, None, (), "abc", **more)


@pytest.fixture(scope="module")
def faces():
    drawn = Avatars(count=160, resolution=32).__getitems__(list(range(160)))
    return torch.stack([image for image, _ in drawn]).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def measure(faces):
    return Memorization.of(pack(faces[:100]), TrainingConfig())


def test_unseen_images_and_what_is_no_image_are_no_copies(faces, measure):
    source = torch.Generator().manual_seed(0)
    mean = to_float(faces[:100]).mean(0, keepdim=True)
    assert measure(to_float(faces[100:])) <= 0.1 < COPIED
    assert measure(torch.randn(64, 3, 32, 32, generator=source)) == 0
    assert measure(mean.expand(64, -1, -1, -1)) == 0
    assert measure(torch.zeros(64, 3, 32, 32)) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images,
        lambda images: images.flip(3),
        lambda images: 0.7 * images + 0.2,
        lambda images: images + 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0)),
        lambda images: interpolate(avg_pool2d(images, 2), scale_factor=2),
    ],
)
def test_copies_are_found_with_other_light_noise_blur_and_mirrored(faces, measure, change):
    assert measure(change(to_float(faces[:64]))) > 0.9


def test_the_share_is_that_of_the_copies(faces, measure):
    half = torch.cat([faces[:32], faces[100:132]])
    assert measure(to_float(half)) == pytest.approx(0.5, abs=0.06)


def test_the_ratio_is_that_of_its_definition(faces):
    few = Memorization.of(pack(faces[:20]), TrainingConfig())
    samples = to_float(faces[100:104])

    def small(image):
        flat = torch.nn.functional.adaptive_avg_pool2d(image[None], 16).flatten().double()
        return (flat - flat.mean()) / (flat - flat.mean()).norm()

    for sample in samples:
        distances = sorted(
            min(float((small(side) - small(to_float(real))).norm()) for side in (sample, sample.flip(2)))
            for real in faces[:20]
        )
        expected = distances[0] / (sum(distances[1:10]) / 9)
        assert float(few._compare(few._distances(sample[None]))) == pytest.approx(expected, rel=1e-4)


def test_data_full_of_near_duplicates_keep_the_share_of_unseen_images_low(faces):
    source = torch.Generator().manual_seed(1)
    twins = to_float(faces[:50])[:, None] + 0.1 * torch.randn(50, 2, 3, 32, 32, generator=source)
    measure = Memorization.of(pack(twins.flatten(0, 1).clamp(-1, 1)), TrainingConfig())
    more = to_float(faces[:50]) + 0.1 * torch.randn(50, 3, 32, 32, generator=source)  # as near as the data themselves
    assert measure(more) < 0.6
    assert measure(twins[:, 0].clamp(-1, 1)) > 0.9


def test_held_out_images_are_no_training_images(faces):
    measure = Memorization.of(pack(faces[:100]), TrainingConfig(holdout=0.5))
    assert measure(to_float(faces[:100])) == pytest.approx(0.5, abs=0.1)


def test_many_images_vectors_and_pairs_are_not_measured(faces):
    training = TrainingConfig()
    assert Memorization.of(pack(torch.zeros(FEW, 1, 4, 4, dtype=torch.uint8)), training) is None
    assert Memorization.of(pack(faces[: LEAST - 1]), training) is None
    assert Memorization.of(pack(torch.randn(50, 2)), training) is None
    assert Memorization.of(pack(faces[:20], sources=pack(faces[:20])), training) is None
    assert Memorization.of(pack(faces[:LEAST]), training) is not None


def rows_of(folder):
    return [json.loads(line) for line in RunFolder(folder).metrics.read_text().splitlines()]


def test_a_run_on_few_images_reports_it_in_rows_at_the_end_and_in_the_report(run, here, image_folder):
    code, out, err = run("train", "--data", image_folder, "--images", "16", *PLAIN)
    assert code == 0, err
    (row,) = rows_of(here / out.strip())
    assert 0 <= row["memorization"] <= 1
    assert re.search(r" memorization \d\.\d\d runs/", err)
    assert f"\nmemorization {row['memorization']:.2f}: few or no copies\n" in err
    read = read_runs([RunFolder(here / out.strip())])
    assert "<h3>Memorization</h3>" in curves_section(read)
    assert f"<li>Memorization {row['memorization']:.2f}: few or no copies.</li>" in summary_section(read)


def test_each_score_has_it_and_the_first_metric_still_selects(run, here, image_folder):
    arguments = ["--eval-every", "8", "--metrics", "fd", "--set", "training.eval_samples=8"]
    code, out, err = run("train", "--data", image_folder, "--images", "16", *PLAIN, *arguments)
    assert code == 0, err
    scores = [row for row in rows_of(here / out.strip()) if "images_per_second" not in row]
    assert [[*row][2:] for row in scores] == [["fd_photos-classifier", "memorization"]] * 2
    assert read_runs([RunFolder(here / out.strip())])[0].best[0] == "fd_photos-classifier"
    assert re.search(r"16 images fd_photos-classifier \S+ memorization 0", err)


def test_copies_are_a_warning_at_the_end():
    notes = []
    observer = BudgetObserver(TrainingConfig(batch=1, images=5000), 0, 0.0, notes.append)
    observer.step(5000, 100.0)
    observer.tick({"memorization": 0.4, "patch_distance": 0.1, "diversity": 1.0})
    observer.finish()
    assert notes[-1].startswith("warning: memorization 0.40: samples copy training images; more images, or --init-from")
