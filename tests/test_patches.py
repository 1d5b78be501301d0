"""The patch distance falls while noise becomes shapes and details; its words are true."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from ganforge.builtin.avatars import Avatars
from ganforge.data.patches import PatchDistance
from ganforge.training.recording.verdict import DETAILED, NOISE, describe_samples


@pytest.fixture(scope="module")
def faces():
    drawn = Avatars(count=320, resolution=32).__getitems__(list(range(320)))
    return torch.stack([image for image, _ in drawn]).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.fixture(scope="module")
def distance(faces):
    return PatchDistance(faces[:256])


def blur(images, factor):
    return interpolate(avg_pool2d(images, factor), scale_factor=factor, mode="bilinear")


def test_real_images_have_details(faces, distance):
    assert distance(faces[256:]) < 0.05 < DETAILED


def test_one_color_is_one(faces, distance):
    color = faces[:256].mean((0, 2, 3), keepdim=True).expand(64, -1, 32, 32)
    assert distance(color) == pytest.approx(1, abs=0.05)


def test_the_distance_grows_with_blur_and_with_noise(faces, distance):
    others, noise = faces[256:], torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    blurred = [distance(others), distance(blur(others, 2)), distance(blur(others, 8))]
    assert blurred == sorted(blurred)
    assert blurred[-1] > NOISE
    noisy = [distance(others.lerp(noise, share)) for share in (0.0, 0.2, 0.5, 1.0)]
    assert noisy == sorted(noisy)
    assert noisy[-1] > 1


def test_samples_that_are_no_numbers_have_no_distance(faces, distance):
    assert torch.tensor(distance(torch.full_like(faces[:8], torch.nan))).isnan()


def test_the_same_images_have_the_same_distance(faces, distance):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert distance(faces[:64]) == distance(faces[:64].contiguous(memory_format=torch.channels_last))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(1, 28, 28), (4, 8, 8), (6, 64, 48), (3, 5, 3)])
def test_any_size_and_number_of_channels(shape):
    drawn = torch.rand(24, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    smooth = torch.cumsum(drawn, 3) / shape[2] ** 0.5
    measured = PatchDistance(smooth[:16])
    assert measured(smooth[16:]) < measured(drawn[16:])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"patch_distance": 0.6, "diversity": 0.1}, "noise"),
        ({"patch_distance": 0.3, "diversity": 0.9}, "shapes"),
        ({"patch_distance": 0.1, "diversity": 0.9}, "details"),
        (
            {"patch_distance": 0.1, "diversity": 0.2},
            "details, but too uniform: diversity 0.20, 1 is that of real images",
        ),
        ({"patch_distance": float("nan"), "diversity": float("nan")}, "noise"),
        ({"diversity": 0.1}, ""),
    ],
)
def test_words_for_samples(values, words):
    assert describe_samples(values) == words
