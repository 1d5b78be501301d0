"""Projections into w and w+, features, noise maps, and codes as files, against closed forms."""

import numpy
import pytest
import torch
from test_explore import Halves, Stripes
from torch import nn

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.errors import CheckpointError, DataError, OptionError
from ganforge.contract.extractor import Extractor
from ganforge.core.images import to_float, to_uint8
from ganforge.explore import (
    FeatureDistance,
    WSpace,
    ZSpace,
    attribute_directions,
    attribute_means,
    calculate,
    factorise,
    mix,
    move,
    open_space,
    project,
    read_code,
    save_code,
    study_noise,
    truncation_sweep,
    walk,
)
from ganforge.explore.noise_maps import find_noise, noise_penalty, normalize_noise, use_noise
from ganforge.explore.targets import list_images
from ganforge.layers.noise import NoiseInjection
from ganforge.runs.checkpoint import save_tensors


def least_error(stripes, target, shared):
    """The least mean squared error of an image that Stripes can reach, with one style for all rows or one for each."""
    wanted = to_float(target)[0].double() - stripes.strength.double()[:, None]
    matrices = torch.stack([row.weight for row in stripes.rows]).double()
    rests = wanted - torch.stack([row.bias for row in stripes.rows]).double()
    if shared:
        matrices, rests = matrices.flatten(0, 1)[None], rests.flatten()[None]
    best = torch.linalg.lstsq(matrices, rests[:, :, None]).solution
    return float((matrices @ best - rests[:, :, None]).square().mean())


@pytest.mark.parametrize("space", ["w", "w+"])
def test_projection_reaches_the_least_squares_solution_of_its_space(space):
    stripes = Stripes().requires_grad_(False)
    target = torch.randint(100, 156, (1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    found = project(open_space(stripes, space), target, steps=150, rate=0.2)
    assert found.latent.shape == (4, 3)
    assert min(found.losses) == pytest.approx(least_error(stripes, target, shared=space == "w"), rel=1e-2)
    assert least_error(stripes, target, shared=False) < least_error(stripes, target, shared=True) / 2
    error = (found.image.double() - target.double()).square().mean()
    assert found.psnr == pytest.approx(float(10 * torch.log10(255**2 / error)))
    assert torch.equal(found.latent[0], found.latent[3]) == (space == "w")


class Means(Extractor):
    """Means of the rows of a gray image in [0, 1]; with `hard` of bytes only."""

    label, preprocessing = "means", "none"

    def __init__(self, data=None, *, hard: bool = False):
        super().__init__()
        self.hard = hard

    def forward(self, images):
        return (images.to(torch.uint8) if self.hard else images).float().mean(3)[:, 0] / 255, None


def test_the_distance_of_features_is_relative_and_adds_to_that_of_pixels():
    distance, target = FeatureDistance(Means()), torch.full((1, 4, 4), 140, dtype=torch.uint8)
    pixels = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    pixels[1] = 140
    assert distance(to_float(pixels), to_float(target)[None]).tolist() == pytest.approx([(40 / 140) ** 2, 0], abs=1e-6)
    space = WSpace(Stripes())
    alone, both = (project(space, target, steps=1, features=each, feature_weight=3.0) for each in (None, distance))
    assert torch.equal(alone.frames[0], both.frames[0])
    extra = 3 * float(distance(to_float(both.frames[:1]), to_float(target)[None]))
    assert both.losses[0] == pytest.approx(alone.losses[0] + extra, rel=0.05)  # of rounded pixels


def test_features_without_gradients_are_refused():
    target = torch.full((1, 4, 4), 140, dtype=torch.uint8)
    with pytest.raises(OptionError, match="extractor 'means' has no gradients"):
        project(WSpace(Stripes()), target, steps=1, features=FeatureDistance(Means(hard=True)))


class Noisy(StyleGenerator):
    """A gray image of one color and noise."""

    z_dim = w_dim = 2
    num_styles = 3

    def __init__(self, size=16):
        super().__init__()
        self.noise = NoiseInjection(1, size)
        self.size = size
        nn.init.constant_(self.noise.strength, 0.1)

    def mapping(self, z, labels=None, truncation: float = 1.0, cutoff: int = -1):
        return truncation * z[:, None].repeat(1, 3, 1)

    def synthesis(self, w, noise: str = "fixed"):
        return self.noise(w[:, 0, 0, None, None, None].expand(-1, 1, self.size, self.size) * 0.2, noise)


def test_the_penalty_of_noise_is_the_papers():
    assert float(noise_penalty([torch.full((1, 1, 8, 8), 3.0)])) == 2 * 81
    assert float(noise_penalty([torch.full((1, 1, 16, 16), 1.0)] * 2)) == 2 * (2 + 2 * 16)
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)[None, None]
    assert float(noise_penalty([board])) == 2
    # Appendix D in loops.
    given = torch.randn(1, 1, 16, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, scaled = 0.0, given[0, 0].numpy()
    while min(scaled.shape) >= 8:
        rows, columns = scaled.shape
        for down, right in ((1, 0), (0, 1)):
            products = [scaled[y, x] * scaled[y - down, x - right] for y in range(rows) for x in range(columns)]
            expected += numpy.mean(products) ** 2
        scaled = scaled.reshape(rows // 2, 2, columns // 2, 2).mean((1, 3)) * 2
    assert float(noise_penalty([given])) == pytest.approx(expected, rel=1e-12)
    assert float(noise_penalty([torch.ones(1, 1, 4, 4)])) == 2  # small maps are compared at their own size


def test_noise_maps_are_optimized_stay_normal_and_the_generator_keeps_its_own(tmp_path):
    torch.manual_seed(0)
    generator = Noisy()
    space, before = WSpace(generator), generator.noise.fixed.detach().clone()
    texture = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(1))
    target = to_uint8(0.1 * texture)
    plain, found = (project(space, target, steps=100, noise=noise) for noise in (False, True))
    assert plain.noise == []
    assert found.psnr > plain.psnr + 6
    (maps,) = found.noise
    assert (float(maps.mean()), float(maps.square().mean())) == pytest.approx((0, 1), abs=1e-5)
    assert float(noise_penalty([maps])) < 1e-3
    assert torch.equal(generator.noise.fixed, before)
    assert not generator.noise.fixed.requires_grad
    # The code gives the same image again.
    save_code(tmp_path / "a.safetensors", space, found.latent, found.noise)
    latent, noise = read_code(tmp_path / "a.safetensors", space)
    use_noise(generator, noise)
    assert torch.equal(space.render(space.latents([latent]))[0], found.image)
    with pytest.raises(CheckpointError, match="b: noise maps of other shapes"):
        use_noise(generator, [torch.zeros(1, 1, 8, 8)], "b")


def test_noise_needs_noise_maps():
    with pytest.raises(OptionError, match="Stripes has no noise maps"):
        project(WSpace(Stripes()), torch.zeros(1, 4, 4, dtype=torch.uint8), noise=True)
    assert find_noise(Stripes()) == []
    maps = [torch.tensor([[1.0, 3.0], [3.0, 5.0]])[None, None]]
    normalize_noise(maps)
    assert maps[0].flatten().tolist() == pytest.approx([-(2**0.5), 0, 0, 2**0.5])


def test_a_code_of_z_is_mapped_to_w_and_not_back(tmp_path):
    stripes = Stripes()
    z, w = ZSpace(stripes), WSpace(stripes)
    save_code(tmp_path / "z.safetensors", z, z.from_seeds([4])[0], fingerprint="one")
    latent, noise = read_code(tmp_path / "z.safetensors", w, "one")
    assert torch.equal(latent, w.from_seeds([4])[0])
    assert noise == []
    assert torch.equal(read_code(tmp_path / "z.safetensors", z)[0], z.from_seeds([4])[0])
    save_code(tmp_path / "w.safetensors", open_space(stripes, "w+"), latent)
    assert torch.equal(read_code(tmp_path / "w.safetensors", w, "any")[0], latent)
    with pytest.raises(CheckpointError, match=r"a code in w\+, which has no latent in z"):
        read_code(tmp_path / "w.safetensors", z)
    with pytest.raises(CheckpointError, match="a code of another generator"):
        read_code(tmp_path / "z.safetensors", w, "two")


@pytest.mark.parametrize(
    ("tensors", "card", "message"),
    [
        ({"latent": torch.zeros(4, 3)}, {"kind": "generator", "space": "w"}, "not the code"),
        ({"latent": torch.zeros(4, 3)}, {"kind": "latent", "space": "v"}, "not the code"),
        ({"other": torch.zeros(4, 3)}, {"kind": "latent", "space": "w"}, "not the code"),
        ({"latent": torch.zeros(5, 3)}, {"kind": "latent", "space": "w"}, r"is \[5, 3\], expected \[4, 3\]"),
        ({"latent": torch.zeros(4)}, {"kind": "latent", "space": "z"}, r"is \[4\], expected \[3\]"),
        ({"latent": torch.full((4, 3), torch.nan)}, {"kind": "latent", "space": "w"}, "finite"),
        ({"latent": torch.zeros(4, 3, dtype=torch.int64)}, {"kind": "latent", "space": "w"}, "finite"),
    ],
)
def test_what_is_no_code_of_the_generator_is_refused(tmp_path, tensors, card, message):
    save_tensors(tmp_path / "a.safetensors", tensors, card)
    with pytest.raises(CheckpointError, match=message):
        read_code(tmp_path / "a.safetensors", WSpace(Stripes()))


def test_latents_stand_wherever_seeds_do():
    space = WSpace(Stripes())
    five, six = space.from_seeds([5, 6])
    assert torch.equal(walk(space, [five, 6], steps=2), walk(space, [5, 6], steps=2))
    for one, other in zip(mix(space, [five, 1], [six], range(2)), mix(space, [5, 1], [6], range(2)), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(calculate(space, [1], [2], [five]).moved, calculate(space, [1], [2], [5]).moved)
    found = factorise(space, 2)
    assert torch.equal(move(space, five, found, [0.0, 1.0]), move(space, 5, found, [0.0, 1.0]))
    assert torch.equal(study_noise(space, [five], draws=2).panels, study_noise(space, [5], draws=2).panels)


def test_truncation_of_a_latent_in_w_is_that_of_its_seed():
    stripes, psis = Stripes(), [1.0, 0.5, 0.0, -1.0]
    of_seeds, space = truncation_sweep(ZSpace(stripes), [3, 4], psis), WSpace(stripes)
    of_latents = truncation_sweep(space, [space.from_seeds([3])[0], 4], psis)
    assert (of_latents.int() - of_seeds.int()).abs().max() <= 1  # computed in another order
    own = space.from_seeds([3])[0] * torch.tensor([0.0, 1.0, 2.0, 3.0])[:, None]  # a style per layer
    images = truncation_sweep(space, [own], [1.0, 0.5, 0.0])[0].double()
    assert ((images[0] + images[2]) / 2 - images[1]).abs().max() <= 1


def brighter_than_usual(images):
    """Two attributes: is the first row brighter than that of most images, is the last."""
    rows = images[:, 0, [0, 3]].double().mean(2)
    return rows > rows.median(0).values


@pytest.mark.parametrize("generator", [Halves(), Stripes()])
def test_directions_of_attributes_lead_from_the_mean_without_to_the_mean_with(generator):
    space = open_space(generator)
    found = attribute_directions(space, brighter_than_usual, [1, 0], seed=2, count=400)
    for row, attribute in enumerate((1, 0)):
        means = attribute_means(space, brighter_than_usual, attribute, seed=2, count=400)
        step = (means.with_it - means.without_it).double()
        step = step[0] if step.dim() == 2 else step
        assert torch.allclose(found.vectors[row] * found.values[row], step)
    assert torch.allclose(found.vectors.norm(dim=1), torch.ones(2, dtype=torch.float64))
    if space.name == "z":
        assert torch.allclose(found.deviations, torch.ones(2, dtype=torch.float64), atol=0.1)


def test_folders_are_listed_by_name_and_other_files_left_out(tmp_path):
    (tmp_path / "cat").mkdir()
    for name in ("b.png", "a.JPG", "c.txt", "cat/0.webp"):
        (tmp_path / name).touch()
    listed = list_images([tmp_path, tmp_path / "c.txt"])
    assert [each.name for each in listed] == ["a.JPG", "b.png", "0.webp", "c.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        list_images([tmp_path / "empty"])
