"""Copies of training images are found by their pixels and told by their kind, and honest images are not accused."""

import json

import pytest
import torch
from test_feature_store import Toy

from ganforge.data.store import PackedData
from ganforge.evaluation.metrics.comparison import Comparison, Protocol, Reference
from ganforge.evaluation.metrics.copies import KINDS, find_copies
from ganforge.evaluation.metrics.memorization import describe_memorization, measure_memorization
from ganforge.evaluation.subjects.image_sets import DataImages
from ganforge.evaluation.subjects.subject import ImagesSubject

SIZE = 12


class Flat(Toy):
    """Features of images of this size."""

    label = "flat"

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3 * SIZE**2, 6, generator=torch.Generator().manual_seed(3)))


def paint(count, seed):
    """Smooth images of random colors, uint8 ``[N, 3, 12, 12]``."""
    source = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=source) * 255
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear").to(torch.uint8)


def brighten(images):
    return (images.float() * 1.2 + 20).clamp(0, 255).round().to(torch.uint8)


FORGE = {
    "exact": lambda images: images,
    "brightened": brighten,
    "shifted": lambda images: images.roll(1, 3),
    "mirrored": lambda images: images.flip(3),
}


def packed(images):
    return PackedData("painted", images, None, (), str(images.double().sum()))


def measure(samples, training, home):
    comparison = Comparison(
        ImagesSubject(packed(samples), home, name="samples"),
        Reference.choose(packed(training)),
        Flat(),
        Protocol(samples=len(samples)),
        device=torch.device("cpu"),
        cache=home / "cache",
    )
    (row,) = measure_memorization(comparison, home / "nearest.png")
    return row


@pytest.mark.parametrize("kind", KINDS)
def test_a_tenth_of_copies_is_counted_by_its_kind_with_the_images_that_were_copied(kind, tmp_path):
    training, samples = paint(200, 1), paint(100, 2)
    samples[40:50] = FORGE[kind](training[70:80])
    row = measure(samples, training, tmp_path)
    counts = {name: each["samples"] for name, each in row.details["copies"].items()}
    assert counts == {name: 10 * (name == kind) for name in KINDS}
    assert row.details["copies"][kind] == {"samples": 10, "unseen": 0, "more": True}
    assert any(note == f"copies of training images: 10 {kind}, more than among unseen images" for note in row.notes)
    shown = [(each["copy"], each["training_image"] - each["sample"]) for each in row.details["closest"]]
    assert shown == [(kind, 30)] * 8
    words = describe_memorization(row, tmp_path / "nearest.png")
    assert f"{kind} copies" in words
    assert "10 of 100 samples, 0 of 200 training images, each without itself: more than usual" in words
    json.dumps(row.to_json())


def test_honest_images_are_not_accused(tmp_path):
    plain = torch.randint(128, (100, 3, 1, 1), dtype=torch.uint8).expand(-1, -1, SIZE, SIZE).contiguous() * 2
    twins = torch.cat([paint(100, 1), brighten(paint(100, 1)), paint(100, 1).flip(3)])  # near copies in the data
    twins = twins[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    for training, samples in (
        (paint(200, 1), paint(100, 2)),
        (plain, plain[:1].expand(50, -1, -1, -1) + 1),
        (twins[:150], twins[150:]),
    ):
        row = measure(samples, training, tmp_path)
        assert not any(each["more"] for each in row.details["copies"].values())
        assert not any("copies of training images" in note for note in row.notes)


def test_an_image_is_not_a_copy_of_itself_but_of_its_double():
    images = paint(30, 3)
    images[20] = images[10]
    data = DataImages(packed(images), torch.arange(30))
    found = find_copies(data, torch.arange(30), data, own=torch.arange(30))
    assert (found.kinds >= 0).nonzero()[:, 0].tolist() == [10, 20]
    assert (found.sources[10], found.sources[20]) == (20, 10)
    assert find_copies(data, torch.arange(30), data).count("exact") == 30
