import math

import numpy as np
import pytest
import torch

from ganforge import DataSpec, Pair
from ganforge.builtin import ada
from ganforge.builtin.ada import ADA
from ganforge.builtin.augmentations import DiffAugment, Flip
from ganforge.config.schema import resolve
from ganforge.plugins.registry import Registry
from ganforge.training.state import build_state

RGB = DataSpec((3, 16, 16))


def examples(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def draw(value):
    """In place of torch.rand: the same number for everything."""
    return lambda *shape, **kinds: torch.full(shape, value, dtype=kinds.get("dtype", torch.float32))


def overfit(augmentation, count=1_000_000):
    augmentation.update(Pair(torch.ones(count), -torch.ones(count)))
    return augmentation


@pytest.mark.parametrize("factory", [Flip, DiffAugment, ADA])
def test_vectors_are_refused(factory):
    with pytest.raises(ValueError, match="needs images, but an example is a vector of 5"):
        factory(DataSpec((5,)))


@pytest.mark.parametrize("factory", [Flip, DiffAugment, ADA])
@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 2, 3)])
def test_first_and_second_derivatives_equal_finite_differences(factory, shape):
    augmentation = overfit(factory(DataSpec(shape)).double())

    def change(images):
        torch.manual_seed(3)
        return augmentation(images).square()  # whose second derivative does not vanish

    images = examples(2, *shape).requires_grad_()
    assert torch.autograd.gradcheck(change, images)
    assert torch.autograd.gradgradcheck(change, images)


# Flip.


def test_flip_mirrors_half_of_the_images():
    images = torch.arange(12_000.0).view(2000, 1, 2, 3)
    torch.manual_seed(0)
    changed = Flip(DataSpec((1, 2, 3)))(images)
    mirrored = (changed == images.flip(3)).flatten(1).all(1)
    assert ((changed == images).flatten(1).all(1) ^ mirrored).all()
    assert 0.45 < mirrored.double().mean() < 0.55


def test_a_flip_of_a_flip_is_the_image(monkeypatch):
    images, flip = examples(2, 3, 4, 5), Flip(DataSpec((3, 4, 5)))
    monkeypatch.setattr(torch, "rand", draw(0.2))
    assert torch.equal(flip(images), images.flip(3))
    assert torch.equal(flip(flip(images)), images)


# DiffAugment.


def test_color_equals_the_paper_for_each_image():
    images = examples(5, 3, 4, 6)
    torch.manual_seed(7)
    changed = DiffAugment(RGB, policy=("color",))(images)
    torch.manual_seed(7)
    brightness, saturation, contrast = (torch.rand(5, 1, 1, 1, dtype=torch.float64).flatten().numpy() for _ in range(3))
    for index, image in enumerate(images.numpy()):
        expected = image + (brightness[index] - 0.5)  # within [-0.5, 0.5]
        for row, column in np.ndindex(4, 6):  # saturation within [0, 2]
            grey = expected[:, row, column].sum() / 3
            expected[:, row, column] = grey + 2 * saturation[index] * (expected[:, row, column] - grey)
        expected = expected.mean() + (contrast[index] + 0.5) * (expected - expected.mean())  # within [0.5, 1.5]
        np.testing.assert_allclose(changed[index].numpy(), expected, rtol=1e-12, atol=1e-12)


def test_color_of_strength_zero_and_a_shift_of_zero_change_nothing(monkeypatch):
    images = examples(4, 3, 8, 8)
    monkeypatch.setattr(torch, "rand", draw(0.5))
    monkeypatch.setattr(torch, "randint", lambda low, high, shape, **_: torch.zeros(shape, dtype=torch.int64))
    assert torch.equal(DiffAugment(RGB, policy=("color", "translation"))(images), images)


def test_saturation_leaves_grey_alone_and_contrast_keeps_the_mean(monkeypatch):
    color = DiffAugment(RGB, policy=("color",))
    grey = examples(4, 1, 8, 8).expand(-1, 3, -1, -1)
    changed = color(grey)
    assert torch.allclose(changed[:, :1], changed, atol=1e-12)
    monkeypatch.setattr(DiffAugment, "brightness", 0.0)
    images = examples(4, 3, 8, 8)
    assert torch.allclose(color(images).mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1e-12)


def test_translation_moves_a_pixel_by_an_eighth_at_most_and_fills_with_zeros():
    images = torch.zeros(3000, 2, 16, 24)
    images[:, 1, 8, 12] = 5
    torch.manual_seed(0)
    changed = DiffAugment(DataSpec((2, 16, 24)), policy=("translation",))(images)
    where = changed.nonzero()
    assert len(where) == 3000
    assert (where[:, 1] == 1).all()
    assert (where[:, 2] - 8).unique().tolist() == list(range(-2, 3))
    assert (where[:, 3] - 12).unique().tolist() == list(range(-3, 4))
    full = DiffAugment(RGB, policy=("translation",))(torch.ones(3000, 3, 16, 16))
    assert set(full[:, 0].sum((1, 2)).tolist()) == {(16 - a) * (16 - b) for a in range(3) for b in range(3)}


def test_translation_equals_a_shift_of_the_padded_image():
    images = examples(20, 3, 8, 16)
    torch.manual_seed(1)
    changed = DiffAugment(RGB, policy=("translation",))(images)
    torch.manual_seed(1)
    down, right = torch.randint(-1, 2, (20, 1, 1)).flatten(), torch.randint(-2, 3, (20, 1, 1)).flatten()
    for image, result, y, x in zip(images.numpy(), changed.numpy(), down.tolist(), right.tolist(), strict=True):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
        np.testing.assert_array_equal(result, padded[:, 2 - y : 10 - y, 2 - x : 18 - x])


def test_cutout_blanks_a_half_by_half_square_and_nothing_else():
    images = 2 + examples(3000, 2, 8, 12)
    torch.manual_seed(0)
    changed = DiffAugment(DataSpec((2, 8, 12)), policy=("cutout",))(images)
    hole = changed == 0
    assert torch.equal(hole[:, 0], hole[:, 1])
    assert torch.equal(changed[~hole], images[~hole])
    sizes = set()
    for each in hole[:, 0]:
        rows, columns = each.any(1).nonzero().flatten(), each.any(0).nonzero().flatten()
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert each.sum() == height * width  # a rectangle without gaps
        assert height == 4 or rows[0] == 0 or rows[-1] == 7  # cut off by an edge alone
        assert width == 6 or columns[0] == 0 or columns[-1] == 11
        sizes.add((height.item(), width.item()))
    assert max(sizes) == (4, 6)
    assert hole[:, 0].any(0).all()  # any place may be cut out
    assert not hole[:, 0].all(0).any()  # and any may be left


def test_a_policy_is_followed_in_its_order_and_must_not_be_empty(monkeypatch):
    called = []
    for name in ("color", "translation", "cutout"):
        monkeypatch.setattr(DiffAugment, f"_{name}", lambda self, images, name=name: called.append(name) or images)
    DiffAugment(RGB, policy=("cutout", "color"))(examples(1, 3, 4, 4))
    assert called == ["cutout", "color"]
    with pytest.raises(ValueError, match="policy is empty"):
        DiffAugment(RGB, policy=())


# ADA: where pixels go.


class Given:
    """Prepared random numbers, returned in order."""

    p = torch.tensor(1.0)

    def __init__(self, *values):
        self.values = [torch.as_tensor(value, dtype=torch.float64) for value in values]

    def _next(self, *_, **__):
        return self.values.pop(0)

    integer = uniform = normal = _next


STILL = dict.fromkeys(["mirror", "turn", "shift", "size", "angle", "stretch", "angle2", "move"])


def placed(images, **changes):
    count = len(images)
    values = [
        torch.zeros(2, count) if name in ("shift", "move") else torch.zeros(count)
        for name in STILL
        if name not in changes
    ]
    values = iter(values)
    draws = Given(*(changes[name] if name in changes else next(values) for name in STILL))
    return ada._warp(images, ada._placement(draws, *images.shape[2:]))


def sampled_by_hand(image, forward):
    """An image [C, H, W] moved by a matrix on places counted from the middle; bilinear, mirrored at the edges."""
    _, height, width = image.shape
    far = 40
    extended = np.pad(image, ((0, 0), (far, far), (far, far)), mode="symmetric")
    result, backward = np.zeros_like(image), np.linalg.inv(forward)
    for row, column in np.ndindex(height, width):
        x, y, _ = backward @ [column - (width - 1) / 2, row - (height - 1) / 2, 1]
        x, y = x + (width - 1) / 2 + far, y + (height - 1) / 2 + far
        for i in (math.floor(y), math.floor(y) + 1):
            for j in (math.floor(x), math.floor(x) + 1):
                result[:, row, column] += (1 - abs(y - i)) * (1 - abs(x - j)) * extended[:, i, j]
    return result


def by_scale(x, y):
    return np.diag([x, y, 1.0])


def by_angle(angle):
    """Takes the axis of x, which points right, towards that of y, which points down."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def by_move(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 5, 8)])
def test_every_change_of_place_equals_one_matrix_and_sampling_by_hand(shape):
    images, (_, height, width) = examples(4, *shape), shape
    random = np.random.default_rng(0)
    mirror, turn = [0, 1, 0, 1], [1, 3, 0, 2] if height == width else [0, 1, 1, 0]
    shift, move = random.uniform(-0.3, 0.3, (2, 2, 4))
    size, angle, stretch, angle2 = random.normal(0, 0.5, (4, 4))
    found = placed(
        images,
        mirror=mirror,
        turn=turn,
        shift=shift,
        size=size,
        angle=angle,
        stretch=stretch,
        angle2=angle2,
        move=move,
    )
    for n in range(4):
        forward = by_scale(-1 if mirror[n] else 1, 1)
        forward = by_angle(math.pi / 2 * turn[n] * (1 if height == width else 2)) @ forward
        forward = by_move(round(shift[0, n] * width), round(shift[1, n] * height)) @ forward
        forward = by_scale(2 ** size[n], 2 ** size[n]) @ forward
        forward = by_angle(angle[n]) @ forward
        forward = by_scale(2 ** stretch[n], 2 ** -stretch[n]) @ forward
        forward = by_angle(angle2[n]) @ forward
        forward = by_move(move[0, n] * width, move[1, n] * height) @ forward
        np.testing.assert_allclose(found[n].numpy(), sampled_by_hand(images[n].numpy(), forward), atol=1e-9)


def test_flips_turns_and_shifts_by_whole_pixels_do_not_blur():
    images = examples(1, 3, 8, 8)
    assert torch.equal(placed(images), images)
    assert torch.equal(placed(images, mirror=[1]), images.flip(3))
    for turns in range(4):  # clockwise as seen, while rot90 turns the other way
        assert torch.equal(placed(images, turn=[turns]), images.rot90(-turns, (2, 3)))
    shifted = placed(images, shift=[[0.25], [-0.125]])  # by 2 to the right and 1 up
    assert torch.equal(shifted[..., :-1, 2:], images[..., 1:, :-2])
    assert torch.equal(shifted[..., :-1, :2], images[..., 1:, :2].flip(3))  # what was beyond the edge is mirrored


def test_images_that_are_not_square_are_turned_by_halves():
    images = examples(1, 1, 4, 6)
    assert torch.equal(placed(images, turn=[1]), images.flip(2, 3))


def test_sampling_agrees_with_the_librarys():
    images = examples(3, 2, 7, 5)
    matrix = torch.tensor([[0.7, -0.9, 1.3], [0.4, 1.2, -2.1], [0, 0, 1]], dtype=torch.float64).repeat(3, 1, 1)
    # In its coordinates an image reaches from -1 to 1, outer edge to outer edge.
    half = torch.diag(torch.tensor([5 / 2, 7 / 2, 1], dtype=torch.float64))
    grid = torch.nn.functional.affine_grid((half.inverse() @ matrix @ half)[:, :2], images.shape, align_corners=False)
    expected = torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    assert torch.allclose(ada._warp(images, matrix), expected, atol=1e-12)


# ADA: colors.

PLAIN = {"brightness": 0.0, "contrast": 0.0, "flip": 0.0, "hue": 0.0, "saturation": 0.0}


def recolored(images, **changes):
    draws = [torch.as_tensor(value, dtype=torch.float64).expand(len(images)) for value in (PLAIN | changes).values()]
    return ada._recolor(images, Given(*draws))


def test_colours_equal_the_papers_matrices():
    images = examples(4, 3, 2, 5)
    random = np.random.default_rng(1)
    brightness, contrast, hue, saturation = random.normal(0, 1, (4, 4))
    flip = [0, 1, 0, 1]
    found = recolored(images, brightness=brightness, contrast=contrast, flip=flip, hue=hue, saturation=saturation)
    axis = np.ones(3) / math.sqrt(3)
    onto = np.outer(axis, axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    for n in range(4):
        turned = onto + math.cos(hue[n]) * (np.eye(3) - onto) + math.sin(hue[n]) * cross
        matrix = 2 ** contrast[n] * np.eye(3)
        matrix = (np.eye(3) - 2 * flip[n] * onto) @ matrix
        matrix = (onto + 2 ** saturation[n] * (np.eye(3) - onto)) @ turned @ matrix
        expected = np.einsum("ij,jhw->ihw", matrix, images[n].numpy() + brightness[n])
        np.testing.assert_allclose(found[n].numpy(), expected, atol=1e-12)


def test_colours_leave_what_they_should():
    images = examples(3, 3, 4, 4)
    assert torch.equal(recolored(images), images)
    assert torch.allclose(recolored(recolored(images, flip=1), flip=1), images)
    for change in ({"hue": 1.0}, {"saturation": 1.0}):
        changed = recolored(images, **change)
        assert not torch.allclose(changed, images, atol=0.1)
        assert torch.allclose(changed.mean(1), images.mean(1))
    lengths = images.norm(dim=1)
    assert torch.allclose(recolored(images, hue=2.0).norm(dim=1), lengths)  # a rotation
    assert torch.allclose(recolored(images, hue=2 * math.pi / 3), images.roll(1, 1))  # red becomes green becomes blue


def test_grey_images_have_no_hue_and_no_saturation():
    grey = examples(2, 1, 4, 4)
    assert torch.equal(recolored(grey, hue=1.0, saturation=1.0), grey)
    assert torch.allclose(recolored(grey, flip=1.0), -grey)


# ADA: how often.


def test_ada_changes_nothing_while_p_is_zero():
    images = examples(8, 3, 16, 16).float()
    assert torch.equal(ADA(RGB)(images), images)


def test_a_number_is_drawn_for_a_share_p_of_the_images():
    torch.manual_seed(0)
    draws = ada._Draws(torch.zeros(20_000, 1, 1, 1, dtype=torch.float64), torch.tensor(0.3))
    for value, half_width in ((draws.uniform(0.5), 0.5), (draws.uniform(0.5, 2)[1], 0.5)):
        assert (value != 0).double().mean().item() == pytest.approx(0.3, abs=0.01)
        assert value.min() == pytest.approx(-half_width, abs=0.01)
        assert value.max() == pytest.approx(half_width, abs=0.01)
    both = draws.normal(0.2, 2)
    assert torch.equal(both[0] != 0, both[1] != 0)  # x and y of one change come together
    chosen = both[:, both[0] != 0]
    assert chosen.shape[1] / 20_000 == pytest.approx(0.3, abs=0.01)
    assert chosen.std().item() == pytest.approx(0.2, rel=0.03)
    assert torch.corrcoef(chosen)[0, 1].abs() < 0.05
    assert [(draws.integer(4) == k).double().mean().item() for k in (1, 2, 3)] == pytest.approx([0.075] * 3, abs=0.01)


def test_of_the_two_rotations_one_at_least_is_made_with_probability_p():
    asked = []

    class Watched(ada._Draws):
        def uniform(self, spread, *shape, p=None):
            asked.append(p)
            return super().uniform(spread, *shape, p=p)

    p = torch.tensor(0.36)
    ada._placement(Watched(torch.zeros(1, 1, 4, 4), p), 4, 4)
    rare = [each.item() for each in asked if each is not None]
    assert 1 - (1 - rare[0]) * (1 - rare[1]) == pytest.approx(0.36)


def test_p_follows_the_sign_of_real_logits_at_the_speed_that_was_asked_for():
    augmentation = ADA(RGB, target=0.6, images=1000, max=0.5)
    right, wrong = torch.tensor([3.0] * 9 + [-1.0]), torch.tensor([0.1] * 7 + [-9.0] * 3)  # r = 0.8 and 0.4
    fake = torch.zeros(10)
    p = 0.0
    for real, direction in [(right, 1)] * 5 + [(wrong, -1)] * 3 + [(right, 1)] * 2:
        augmentation.update(Pair(real, fake))
        p += direction * 10 / 1000
        assert augmentation.p.item() == pytest.approx(p, abs=1e-6)
    for _ in range(10):
        augmentation.update(Pair(wrong, fake))
    assert augmentation.p == 0
    for _ in range(100):
        augmentation.update(Pair(right.requires_grad_(), fake))
    assert augmentation.p == 0.5
    assert not augmentation.p.requires_grad


def test_p_is_saved_with_the_run_to_the_last_bit():
    registry, device = Registry.installed(), torch.device("cpu")
    config = resolve(
        registry,
        {
            "recipe": "mlp",
            "generator": {"hidden": [4]},
            "discriminator": {"hidden": [4]},
            "augmentations": {"ada": {"images": 777}},
        },
    )
    state, again = (build_state(config, registry, DataSpec((1, 4, 4)), device) for _ in range(2))
    for _ in range(3):
        state.augmentations[0].augmentation.update(Pair(torch.ones(64), torch.zeros(64)))
    tensors = state.tensors()
    assert 0 < tensors["augmentation.ada/p"] < 1
    again.load({name: tensor.clone() for name, tensor in tensors.items()})
    assert torch.equal(again.augmentations[0].augmentation.p, state.augmentations[0].augmentation.p)


@pytest.mark.parametrize("options", [{"target": 1.0}, {"target": -1.0}, {"images": 0}, {"max": 0.0}, {"max": 1.5}])
def test_options_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}="):
        ADA(RGB, **options)
