"""Exploring latent spaces, on generators so simple that every answer is known."""

import math

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ganforge.builtin.dcgan import DCGANGenerator
from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import DataError, OptionError
from ganforge.contract.networks import Generator
from ganforge.core.images import to_uint8
from ganforge.explore import (
    WSpace,
    ZSpace,
    attribute_means,
    calculate,
    draw_table,
    factorise,
    follow_layers,
    layout,
    lerp,
    mean_colour,
    mix,
    mix_styles,
    move,
    open_space,
    power_by_frequency,
    principal_components,
    project,
    read_layers,
    score_direction,
    slerp,
    study_noise,
    truncation_sweep,
    walk,
)
from ganforge.explore.capabilities import require_images, require_styles, require_truncation
from ganforge.explore.directions import first_weights
from ganforge.explore.noise import PANELS
from ganforge.explore.pictures import check_suffix, encode_animation
from ganforge.explore.targets import read_target
from ganforge.explore.walk import walk_latents
from ganforge.plugins.registry import Registry
from ganforge.sampling import draw_latents


class Stripes(StyleGenerator):
    """Linear from z to w, and from the style of layer i to row i of a gray 4 x 4 image."""

    def __init__(self, data=None, *, z_dim: int = 3):
        super().__init__()
        self.z_dim, self.w_dim, self.num_styles = z_dim, 3, 4
        self.to_w = nn.Linear(z_dim, 3)
        self.rows = nn.ModuleList(nn.Linear(3, 4) for _ in range(4))
        source = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=source) * 0.2)
        self.strength = nn.Parameter(torch.tensor([0.1, 0.2, 0.05, 0.3]))

    def mapping(self, z, labels=None, truncation: float = 1.0, cutoff: int = -1):
        w = self.to_w.bias + truncation * (self.to_w(z) - self.to_w.bias)
        return w[:, None].repeat(1, 4, 1)

    def synthesis(self, w, noise: str = "fixed"):
        images = torch.stack([row(w[:, index]) for index, row in enumerate(self.rows)], dim=1)[:, None]
        pixels = torch.randn(images.shape) if noise == "random" else torch.ones(images.shape)
        has = {"none": [0, 0, 0, 0], "only-coarse": [1, 1, 0, 0], "only-fine": [0, 0, 1, 1]}.get(noise, [1, 1, 1, 1])
        return images + pixels * (self.strength * torch.tensor(has))[:, None]


class Painter(StyleGenerator):
    """Of six layers the first turns a gradient, the third and fourth choose a texture, the last gives a tint.

    The texture, a chequerboard of single pixels that 8 x 8 does not see, is dark first only if z[1] > 0 in both layers.
    """

    z_dim = w_dim = 3
    num_styles = 6

    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(0.3))

    def mapping(self, z, labels=None, truncation: float = 1.0, cutoff: int = -1):
        return z[:, None].repeat(1, 6, 1)

    def synthesis(self, w, noise: str = "fixed"):
        line = (torch.arange(16) - 7.5) / 15
        turn = w[:, 0, 0, None, None]
        gradient = self.strength * (turn.cos() * line[:, None] + turn.sin() * line)
        board = torch.tensor([[-0.1, 0.1], [0.1, -0.1]]).repeat(8, 8)
        texture = torch.where((w[:, 2:4, 1] > 0).all(1)[:, None, None], board, -board)
        return (gradient + texture)[:, None] + 0.3 * w[:, 5].tanh()[:, :, None, None]


def read_texture(images):
    """Two attributes: is the texture dark first, and one that no image has."""
    dark = images[:, 0, 0, 0] < images[:, 0, 0, 1]
    return torch.stack([dark, torch.zeros_like(dark)], dim=1)


class Halves(Generator):
    """A gray 4 x 4 image: the top shows the first number of z, the bottom a mixture of both."""

    z_dim = 2

    def __init__(self, share=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 0.0], [share, math.sqrt(1 - share**2)]]))

    def forward(self, z, labels=None):
        return (z @ self.weight.T * 0.2)[:, None, :, None].repeat_interleave(2, dim=2).expand(-1, 1, 4, 4)


def read(images):
    """Two attributes: is the top bright, is the bottom."""
    return images[:, 0, ::2, 0] > 127


@pytest.fixture
def stripes():
    return Stripes()


def exact(generator, z, **options):
    with torch.no_grad():
        return generator(z, **options)


def test_slerp_turns_at_constant_speed_and_grows_linearly():
    p, q = torch.randn(2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1], [3]])
    angle = math.acos(float(p @ q / p.norm() / q.norm()))
    for weight in (0.1, 0.25, 0.5, 0.9):
        x = slerp(p, q, torch.tensor(weight, dtype=torch.float64))
        assert float(x.norm()) == pytest.approx((1 - weight) * float(p.norm()) + weight * float(q.norm()), rel=1e-12)
        assert math.acos(float(x @ p / x.norm() / p.norm())) == pytest.approx(weight * angle, rel=1e-9)
        assert math.acos(float(x @ q / x.norm() / q.norm())) == pytest.approx((1 - weight) * angle, rel=1e-9)


def test_slerp_of_equal_lengths_is_shoemakes_formula():
    p, q = nn.functional.normalize(torch.randn(2, 5, 9, dtype=torch.float64), dim=-1)
    t = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    angle = (p * q).sum(-1, keepdim=True).acos()
    expected = (((1 - t) * angle).sin() * p + (t * angle).sin() * q) / angle.sin()
    assert torch.allclose(slerp(p, q, t), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("between", [lerp, slerp])
def test_interpolation_meets_both_ends_to_the_last_bit(between):
    p, q = torch.randn(2, 20, 33)
    assert torch.equal(between(p, q, torch.tensor(0.0)), p)
    assert torch.equal(between(p, q, torch.tensor(1.0)), q)
    assert between(p, q, torch.tensor(0.3)).dtype == torch.float32


def test_slerp_where_the_angle_is_nothing_or_a_half_turn_or_undefined():
    p = torch.randn(8, dtype=torch.float64)
    half = torch.tensor(0.5)
    assert torch.allclose(slerp(p, 3 * p, half), 2 * p, rtol=1e-12)
    opposite = slerp(p, -p, half)
    assert float(opposite.norm()) == pytest.approx(float(p.norm()))
    assert float(opposite @ p) == pytest.approx(0, abs=1e-12)
    assert torch.allclose(slerp(0 * p, p, half), p / 2)
    nearly = p + 1e-9 * torch.randn(8, dtype=torch.float64)
    assert torch.allclose(slerp(p, nearly, half), (p + nearly) / 2, rtol=1e-13, atol=1e-15)


def test_a_walk_stops_at_every_seed_and_returns(stripes):
    space = ZSpace(stripes)
    frames = walk(space, [4, 9, 2], steps=5)
    assert frames.shape == (15, 1, 4, 4)
    assert torch.equal(frames[::5], space.render(space.from_seeds([4, 9, 2])))
    latents = walk_latents(space.from_seeds([4, 9, 2]).double(), 5, "lerp")
    assert torch.allclose(latents[14] - latents[13], latents[0] - latents[14])  # the last step leads to the first stop


def test_a_walk_in_w_is_straight_there(stripes):
    space = WSpace(stripes)
    stops = space.from_seeds([1, 5])
    latents = walk_latents(stops, 4, "lerp")
    assert torch.allclose(latents[2], stops.mean(0))
    assert torch.equal(walk(space, [1, 5], steps=4), space.render(latents))


@pytest.mark.parametrize(
    ("seeds", "options", "message"),
    [
        ([1], {}, "at least two"),
        ([1, 2], {"steps": 0}, "invalid number"),
        ([1, 2], {"interpolation": "slrp"}, "slerp"),
    ],
)
def test_walks_that_lead_nowhere_are_refused(stripes, seeds, options, message):
    with pytest.raises(OptionError, match=message):
        walk(ZSpace(stripes), seeds, **options)


def test_seeds_are_those_of_sampling(stripes):
    assert torch.equal(ZSpace(stripes).from_seeds([8, 3])[1], draw_latents(1, 3, 3)[0])


@pytest.mark.parametrize("num_styles", range(3, 19))
def test_thirds_are_all_layers_in_order_and_none_twice(num_styles):
    parts = [read_layers(name, num_styles) for name in ("coarse", "middle", "fine")]
    assert [layer for part in parts for layer in part] == list(range(num_styles))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_layers_by_number():
    assert list(read_layers("0-3", 6)) == [0, 1, 2, 3]
    assert list(read_layers("5", 6)) == [5]
    for wrong in ("6", "4-9", "3-2", "many", "-1", ""):
        with pytest.raises(OptionError, match="0-5"):
            read_layers(wrong, 6)


def test_mixing_takes_the_named_layers_from_columns_and_all_others_from_rows(stripes):
    space = WSpace(stripes)
    a, b, mixed = mix(space, [1, 2], [3, 4, 5], range(1, 3))
    assert mixed.shape == (2, 3, 1, 4, 4)
    for row in range(2):
        for column in range(3):
            assert torch.equal(mixed[row, column, 0, [0, 3]], a[row, 0, [0, 3]])
            assert torch.equal(mixed[row, column, 0, [1, 2]], b[column, 0, [1, 2]])
    w = space.from_seeds([1, 2])
    before = w.clone()
    mix_styles(w[0], w[1], range(4))
    assert torch.equal(w, before)


def test_colour_layout_and_attributes_follow_the_layers_that_make_them():
    count, steps = 60, []
    texture, absent, colour, where = follow_layers(
        WSpace(Painter()),
        read_texture,
        ("texture", "absent"),
        seed=7,
        count=count,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert [each.name for each in (texture, absent, colour, where)] == ["texture", "absent", "colour", "layout"]
    assert (where.num_differing, where.layers) == (count, [1, 0, 0, 0, 0, 0])
    assert where.thirds == {"coarse": 1, "middle": 0, "fine": 0}
    assert (colour.num_differing, colour.layers) == (count, [0, 0, 0, 0, 0, 1])
    assert colour.thirds == {"coarse": 0, "middle": 0, "fine": 1}
    assert (absent.num_differing, absent.layers) == (0, [None] * 6)
    assert absent.thirds == dict.fromkeys(("coarse", "middle", "fine"))
    has = draw_latents(2 * count, 3, 7)[:, 1] > 0
    a, b = has[::2], has[1::2]
    # One layer of B's can take the texture away, but both are needed to give it.
    alone = float(a[a != b].double().mean())
    assert 0 < alone < 1
    assert (texture.num_differing, texture.layers) == (int((a != b).sum()), [0, 0, alone, alone, 0, 0])
    assert texture.thirds == {"coarse": 0, "middle": 1, "fine": 0}
    assert steps == [(done, 11) for done in range(1, 12)]


def test_colour_and_layout_need_no_reader_and_two_layers_have_no_thirds():
    space = WSpace(Painter())
    colour, where = follow_layers(space, count=3)
    assert (colour.thirds["fine"], where.thirds["coarse"]) == (1, 1)
    space.styles.num_styles = 2
    with pytest.raises(OptionError, match="this generator has layers 0-1"):
        follow_layers(space, count=3)


def test_layout_minds_neither_colour_nor_brightness_nor_contrast_nor_fine_detail():
    ramp = torch.arange(16, dtype=torch.uint8).expand(1, 3, 16, 16)
    tint = torch.tensor([0, 40, 90], dtype=torch.uint8)[:, None, None]
    fine = torch.tensor([[0, 2], [2, 0]], dtype=torch.uint8).repeat(8, 8)
    images = torch.cat([ramp, 5 * ramp, ramp + tint, ramp + fine, ramp.flip(3), ramp.transpose(2, 3)])
    found = layout(images)
    assert found.shape == (6, 64)
    assert torch.allclose(found @ found[0], torch.tensor([1, 1, 1, 1, -1, 0], dtype=torch.float64), atol=1e-12)
    assert not layout(torch.full((1, 3, 24, 24), 77, dtype=torch.uint8)).any()
    assert layout(torch.zeros(1, 1, 4, 4, dtype=torch.uint8)).shape == (1, 64)
    assert mean_colour(ramp + tint).tolist() == [[7.5, 47.5, 97.5]]


def test_a_truncation_sweep_is_a_line_through_the_mean(stripes):
    images = truncation_sweep(ZSpace(stripes), [3, 4], [1.0, 0.5, 0.0, -1.0])
    assert torch.equal(images[:, 0], to_uint8(exact(stripes, draw_latents(2, 3, 3))))
    assert torch.equal(images[0, 2], images[1, 2])
    middle = (images[:, 0].double() + images[:, 2].double()) / 2
    assert (images[:, 1].double() - middle).abs().max() <= 1
    assert ((images[:, 0].double() + images[:, 3].double()) / 2 - images[:, 2]).abs().max() <= 1


def test_noise_panels_and_the_deviation_that_noise_of_known_strength_makes(stripes):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    study = study_noise(WSpace(stripes), [0, 1], draws=300)
    assert torch.equal(torch.get_rng_state(), state)
    everything, none, fine, coarse = study.panels.double().unbind(1)
    assert list(PANELS) == ["all", "none", "only fine", "only coarse"]
    assert torch.equal(fine[:, :, :2], none[:, :, :2])
    assert torch.equal(fine[:, :, 2:], everything[:, :, 2:])
    assert torch.equal(coarse[:, :, 2:], none[:, :, 2:])
    assert torch.equal(coarse[:, :, :2], everything[:, :, :2])
    assert torch.allclose(study.deviation.mean((0, 2)), stripes.strength.double().detach(), rtol=0.1)
    assert study.maps().amax() == 255
    again = study_noise(WSpace(stripes), [0, 1], draws=300)
    assert torch.equal(again.deviation, study.deviation)


def test_power_by_frequency_puts_waves_in_their_octaves_and_loses_nothing():
    x = torch.arange(16).double() / 16 * 2 * math.pi
    waves = (
        3 * torch.ones(16, 16, dtype=torch.float64)
        + 2 * torch.cos(x)[:, None]
        + (4 * x).cos()
        + (5 * x).sin()[:, None] * (5 * x).cos()
    )
    power = power_by_frequency(waves[None, None])
    assert power.tolist() == pytest.approx([9, 2, 0, 0.5 + 0.25, 0], abs=1e-9)
    noise = torch.randn(2, 3, 16, 16)
    assert float(power_by_frequency(noise).sum()) == pytest.approx(float(noise.double().square().mean()))


def test_the_power_of_noise_is_that_of_what_it_adds(stripes):
    powers = study_noise(WSpace(stripes), [0, 1], draws=2).powers
    added = stripes.strength.detach().double()
    halves = [added, 0 * added, added * torch.tensor([0, 0, 1, 1]), added * torch.tensor([1, 1, 0, 0])]
    assert torch.allclose(powers.sum(1), torch.stack([each.square().mean() for each in halves]), rtol=1e-4)


def test_the_deviation_is_that_of_the_draws(stripes):
    study = study_noise(WSpace(stripes), [2], draws=3, noise_seed=7)
    w = WSpace(stripes).from_seeds([2])
    drawn = []
    for seed in (7, 8, 9):
        torch.manual_seed(seed)
        with torch.no_grad():
            drawn.append(stripes.synthesis(w, "random").double())
    assert torch.allclose(study.deviation, torch.stack(drawn).std(0).mean(1), rtol=1e-12)


@pytest.mark.parametrize("name", ["z", "w"])
def test_arithmetic_of_latents_is_that_of_images_where_all_is_linear(stripes, name):
    space = open_space(stripes, name)
    result = calculate(space, [1, 2, 3], [4, 5], [6, 7], strength=0.5)
    a, b, c = (
        exact(stripes, torch.cat([draw_latents(1, 3, seed) for seed in seeds])) for seeds in ([1, 2, 3], [4, 5], [6, 7])
    )
    direction = 0.5 * (a.mean(0) - b.mean(0))

    def close(shown, floats):
        assert (shown.double() - to_uint8(floats).double()).abs().max() <= 1

    close(result.result, c.mean(0) + direction)
    close(result.moved, c + direction)
    close(result.means, torch.stack([a.mean(0), b.mean(0), c.mean(0)]))
    rows = result.rows()
    assert [len(row) for row in rows] == [4] * 4
    assert rows[1][2] is None
    assert torch.equal(rows[3][3], result.result)


def test_arithmetic_in_some_layers_leaves_what_the_others_make(stripes):
    space = WSpace(stripes)
    everywhere = calculate(space, [1, 2], [3, 4], [5, 6, 7])
    some = calculate(space, [1, 2], [3, 4], [5, 6, 7], layers=range(1, 3))
    assert torch.equal(some.moved[:, :, 1:3], everywhere.moved[:, :, 1:3])
    assert torch.equal(some.result[:, 1:3], everywhere.result[:, 1:3])
    assert torch.equal(some.moved[:, :, [0, 3]], some.exemplars[2][:, :, [0, 3]])
    assert not torch.equal(everywhere.moved[:, :, [0, 3]], some.moved[:, :, [0, 3]])
    assert torch.equal(some.direction[1:3], everywhere.direction[1:3])
    assert not some.direction[[0, 3]].any()
    with pytest.raises(OptionError, match="latents in z have no layers"):
        calculate(ZSpace(stripes), [1], [2], [3], layers=range(1))


def test_a_direction_in_the_layers_of_its_attribute_gains_as_much_and_keeps_all_else():
    """Row 0 is bright if the first number of w is positive; so, more or less, is row 2."""

    class Entangled(Stripes):
        def synthesis(self, w, noise: str = "fixed"):
            rows = torch.stack([w[:, 0, 0], w[:, 1, 1], 0.8 * w[:, 2, 0] + 0.6 * w[:, 2, 1], w[:, 3, 2]], dim=1)
            return 0.2 * rows[:, None, :, None].expand(-1, 1, 4, 4)

    generator = Entangled()
    with torch.no_grad():
        generator.to_w.weight.copy_(torch.eye(3))
        generator.to_w.bias.zero_()
    space, names = WSpace(generator), ("first", "third")
    means = attribute_means(space, read, 0, count=1000)
    scores = []
    for layers in (None, range(1)):
        pair = (means.with_it, means.without_it)
        found = calculate(space, [0], [1], [2], means=pair, strength=1.5, layers=layers)
        scores.append(score_direction(space, read, found.direction, 0, names, seed=1000, count=300))
    everywhere, only_there = scores
    assert only_there.gained == everywhere.gained > 0.9
    assert only_there.kept["third"] == 1 > everywhere.kept["third"] + 0.2


def test_the_direction_of_an_attribute_and_its_score_against_their_closed_forms():
    space = ZSpace(Halves())
    means = attribute_means(space, read, 0, count=4000)
    direction = means.with_it - means.without_it
    distance = 2 * math.sqrt(2 / math.pi)  # between the means of the halves of a normal distribution
    assert torch.allclose(direction, torch.tensor([distance, 0.0]), atol=0.08)
    assert len(means.seeds_with) + len(means.seeds_without) == 4000
    assert read(space.render(space.from_seeds(means.seeds_with[:50])))[:, 0].all()
    assert not read(space.render(space.from_seeds(means.seeds_without[:50])))[:, 0].any()
    score = score_direction(space, read, direction, 0, ("top", "bottom"), seed=4000, count=1500)
    assert score.gained == pytest.approx(math.erf(distance / math.sqrt(2)), abs=0.03)  # P(|x| < distance)
    assert score.kept["bottom"] == score.kept_all > 0.95
    assert list(score.kept) == ["bottom"]


def test_a_direction_does_not_carry_along_what_only_goes_together():
    generator = Halves(share=0.8)
    space = ZSpace(generator)
    means = attribute_means(space, read, 0, count=3000)
    latents = space.from_seeds(range(3000))
    has = read(space.render(latents))[:, 0]
    plain = latents[has].mean(0) - latents[~has].mean(0)
    bottom = generator.weight[1].detach()
    assert bottom @ (means.with_it - means.without_it) < 0.6 * (bottom @ plain)


def test_a_score_without_effect_is_nothing_gained_and_all_kept():
    score = score_direction(ZSpace(Halves()), read, torch.zeros(2), 1, ("top", "bottom"), count=40)
    assert (score.count, score.gained, score.kept, score.kept_all) == (40, 0.0, {"top": 1.0}, 1.0)


def test_an_attribute_that_all_images_have_gives_no_direction():
    def all_of_them(images):
        return torch.ones(len(images), 2, dtype=torch.bool)

    with pytest.raises(OptionError, match="no two differ"):
        attribute_means(ZSpace(Halves()), all_of_them, 0, count=20)
    with pytest.raises(OptionError, match="only 0 of 200 images lack 'top'"):
        score_direction(ZSpace(Halves()), all_of_them, torch.zeros(2), 0, ("top", "bottom"), count=10)


@pytest.mark.parametrize("name", ["z", "w"])
def test_projection_finds_the_latent_of_an_image_that_the_generator_made(stripes, name):
    space = open_space(stripes, name)
    wanted = space.from_seeds([1000])
    found = project(space, space.render(wanted)[0], steps=150, frames=4)
    assert found.latent.shape == wanted.shape[1:]
    assert torch.allclose(found.latent, wanted[0], atol=0.05)
    assert min(found.losses) < 2e-5 < found.losses[0]
    assert found.frame_steps == [0, 50, 100, 150]
    assert len(found.frames) == 4
    assert torch.equal(found.image, space.render(found.latent[None])[0])
    assert all(parameter.grad is None for parameter in stripes.parameters())


def test_projection_repeats_itself_and_begins_at_the_best_candidate(stripes):
    space = ZSpace(stripes)
    target = torch.full((1, 4, 4), 140, dtype=torch.uint8)
    one, two = (project(space, target, steps=10, seed=3) for _ in range(2))
    assert one.losses == two.losses
    assert torch.equal(one.latent, two.latent)
    tried = space.from_seeds(range(3, 67))
    tried = torch.cat([tried, tried.mean(0, keepdim=True)])
    losses = (exact(stripes, tried) - (140 / 127.5 - 1)).square().mean((1, 2, 3))
    assert one.losses[0] == pytest.approx(float(losses.min()), rel=1e-5)


def test_an_image_of_another_size_is_not_projected(stripes):
    with pytest.raises(DataError, match=r"the image is \[1, 5, 5\], the generator makes \[1, 4, 4\]"):
        project(ZSpace(stripes), torch.zeros(1, 5, 5, dtype=torch.uint8))


def test_factorisation_is_the_singular_value_decomposition_of_all_affine_layers(stripes):
    space = WSpace(stripes)
    found = factorise(space, 3)
    matrix = torch.cat([row.weight for row in stripes.rows]).detach().double()
    _, singular, right = torch.linalg.svd(matrix)
    assert torch.allclose(found.values, singular**2, rtol=1e-5)
    assert torch.allclose((found.vectors * right).sum(1).abs(), torch.ones(3, dtype=torch.float64), atol=1e-5)
    assert (found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True)) > 0).all()


def test_principal_components_are_those_of_the_mapping(stripes):
    found = principal_components(WSpace(stripes), 3, samples=4000)
    covariance = stripes.to_w.weight.detach().double()
    covariance = covariance @ covariance.T  # of W z + b, for z of unit covariance
    values, vectors = torch.linalg.eigh(covariance)
    assert torch.allclose(found.values, values.flip(0), rtol=0.1)
    assert (found.vectors @ vectors.flip(1)).diagonal().abs().min() > 0.98
    assert torch.allclose(found.deviations, found.values.sqrt(), rtol=0.1)


def test_moving_by_strength_zero_is_standing_still_and_by_one_a_standard_deviation(stripes):
    space = WSpace(stripes)
    found = principal_components(space, 2)
    images = move(space, 6, found, [0.0, 1.0])
    w = space.from_seeds([6])
    assert torch.equal(images[0, 0], space.render(w)[0])
    step = (found.vectors[1] * found.deviations[1]).float()
    assert torch.equal(images[1, 1], space.render(w + step)[0])


@pytest.mark.parametrize("labelled", [False, True])
def test_the_first_layer_of_dcgan_is_found(labelled):
    data = DataSpec((1, 8, 8), ("a", "b") if labelled else ())
    generator = DCGANGenerator(data, z_dim=6, width=2, conditioning="input" if labelled else "none")
    (weight,) = first_weights(ZSpace(generator, 1 if labelled else None))
    assert torch.allclose(weight.float(), generator.layers[0].weight[:6].flatten(1).T, atol=1e-6)


class Layers(Generator):
    z_dim = 5

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, z, labels=None):
        return self.layers(z).view(-1, 1, 2, 2)


def test_a_layer_whose_weights_are_made_from_others_is_found_once():
    layer = spectral_norm(nn.Linear(5, 4))
    (weight,) = first_weights(ZSpace(Layers(layer, nn.Tanh())))
    assert torch.allclose(weight.float(), layer.weight, atol=1e-6)


def test_a_generator_that_bends_latents_first_has_no_first_layer():
    with pytest.raises(OptionError, match="no affine layer that takes z"):
        factorise(ZSpace(Layers(nn.Tanh(), nn.Linear(5, 4))))


def test_more_directions_than_there_are_is_refused(stripes):
    with pytest.raises(OptionError, match="from 1 to 3"):
        factorise(WSpace(stripes), 4)


def test_spaces_and_what_they_need():
    assert open_space(Stripes()).name == "w"
    assert open_space(Halves()).name == "z"
    with pytest.raises(OptionError, match="unknown latent space 'x'"):
        open_space(Halves(), "x")
    with pytest.raises(OptionError, match="Halves has no styles"):
        open_space(Halves(), "w")
    with pytest.raises(OptionError, match="vectors of 2 numbers"):
        require_images(DataSpec((2,)))
    require_images(DataSpec((1, 4, 4)))


def test_the_class_reaches_the_generator():
    generator = DCGANGenerator(DataSpec((1, 8, 8), ("a", "b")), z_dim=4, width=2, conditioning="input")
    spaces = [ZSpace(generator, label) for label in (0, 1)]
    images = [space.render(space.from_seeds([0])) for space in spaces]
    expected = exact(generator, draw_latents(1, 4, 0), labels=torch.tensor([1]))
    assert torch.equal(images[1], to_uint8(expected))
    assert not torch.equal(*images)


def test_what_lacks_a_capability_is_told_which_recipes_have_it():
    from ganforge.contract.parts import Recipe
    from ganforge.plugins.loading import Plugin

    parts = {
        "generator": {"stripes": Stripes, "halves": Halves},
        "recipe": {
            name: Recipe("", "", {"generator": {"name": generator}})
            for name, generator in (("striped", "stripes"), ("halved", "halves"), ("strange", "absent"))
        },
    }
    registry = Registry([Plugin(name="test", distribution="", version="", status="ok", parts=parts)])
    for require in (require_styles, require_truncation):
        require(Stripes())
        with pytest.raises(OptionError) as caught:
            require(Halves(), registry)
        assert caught.value.hint == "train one that does: --arch striped"
        with pytest.raises(OptionError) as caught:
            require(Halves(), Registry([]))
        assert "--arch" not in caught.value.hint


def test_tables_put_every_image_in_its_place():
    pixels = torch.arange(4 * 64 * 64, dtype=torch.int64).remainder(251).to(torch.uint8).view(4, 1, 64, 64)
    picture = draw_table([[pixels[0], None], [pixels[1], pixels[2]]])
    assert picture.size == (130, 130)
    assert picture.crop((66, 66, 130, 130)).tobytes()[::3] == pixels[2].numpy().tobytes()
    assert picture.getpixel((100, 30)) == (255, 255, 255)
    named = draw_table([[pixels[0], pixels[1]]], columns=["one", "two"], names=["row"])
    left, top = named.width - 130, named.height - 64
    assert (left > 10, top > 10) == (True, True)
    assert named.crop((left, top, left + 64, top + 64)).tobytes()[::3] == pixels[0].numpy().tobytes()


def test_small_images_are_enlarged_by_whole_factors():
    picture = draw_table([[torch.tensor([[[0, 255], [255, 0]]], dtype=torch.uint8)]])
    assert picture.size == (64, 64)
    assert picture.getpixel((31, 31)) == (0, 0, 0)
    assert picture.getpixel((32, 31)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_repeat_without_end_and_hold_all_frames(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 90, 250)]
    (tmp_path / f"walk{suffix}").write_bytes(encode_animation(frames, suffix))
    with Image.open(tmp_path / f"walk{suffix}") as picture:
        assert picture.n_frames == 3
        assert picture.info["loop"] == 0


def test_videos_are_refused_with_a_way_out():
    with pytest.raises(OptionError, match="ffmpeg"):
        check_suffix("--to walk.mp4", ".mp4", [".gif"])
    with pytest.raises(OptionError, match="use .gif or .webp"):
        check_suffix("--to walk.png", ".png", [".gif", ".webp"])


def test_an_image_file_is_brought_to_what_the_generator_makes(tmp_path):
    Image.new("RGB", (30, 20), (200, 100, 50)).save(tmp_path / "wide.png")
    colour = read_target(tmp_path / "wide.png", (3, 8, 8))
    assert colour.shape == (3, 8, 8)
    assert colour[:, 4, 4].tolist() == [200, 100, 50]
    assert read_target(tmp_path / "wide.png", (1, 8, 8)).shape == (1, 8, 8)
    assert read_target(tmp_path / "wide.png", (3, 20, 30)).shape == (3, 20, 30)
    assert read_target(tmp_path / "wide.png", (3, 16, 8)).shape == (3, 16, 8)
    corner = read_target(tmp_path / "wide.png", (3, 8, 8), lambda image, size: Image.new("L", (30, 5), sum(size)))
    assert corner.flatten().tolist() == [16] * 192
    with pytest.raises(DataError, match="absent.png"):
        read_target(tmp_path / "absent.png", (3, 8, 8))
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match="unsupported image format"):
        read_target(tmp_path / "text.png", (3, 8, 8))
