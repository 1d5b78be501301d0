import pytest
import torch

from ganforge import Generator, OptionError, generate
from ganforge.builtin.dcgan import DCGANGenerator
from ganforge.builtin.mlp import MLPGenerator
from ganforge.contract.data import DataSpec
from ganforge.core.images import grid, to_float, to_uint8
from ganforge.sampling import PRECISIONS, cycle_labels, draw_latents, generate_batches


class Truncated(Generator):
    z_dim = 3

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None, truncation: float = 1.0) -> torch.Tensor:
        return z * truncation * self.scale


def test_a_seed_names_an_image_whatever_the_batch():
    together = draw_latents(10, 5, seed=40)
    assert torch.equal(draw_latents(1, 5, seed=47)[0], together[7])
    assert not torch.equal(together[0], together[1])
    generator = MLPGenerator(DataSpec((4,)), z_dim=5, hidden=(8,))
    one = torch.cat(list(generate_batches(generator, 10, seed=40, batch=10)))
    many = torch.cat(list(generate_batches(generator, 10, seed=40, batch=3)))
    assert torch.allclose(one, many, atol=1e-6)


def test_latents_are_standard_normal():
    latents = draw_latents(4000, 20, seed=0).double()
    assert latents.mean().abs() < 5 / 80_000**0.5
    assert (latents.var() - 1).abs() < 5 * (2 / 80_000) ** 0.5


def test_truncation_reaches_a_generator_that_has_it_and_is_refused_by_others():
    full, half = generate(Truncated(), 4), generate(Truncated(), 4, truncation=0.5)
    assert torch.allclose(half, full / 2)
    with pytest.raises(OptionError, match="MLPGenerator cannot be truncated"):
        generate(MLPGenerator(DataSpec((4,))), 1, truncation=0.5)


def test_latents_and_vectors_have_the_dtype_of_the_network():
    class Mixed(Truncated):
        def forward(self, z, labels=None):
            assert z.dtype == labels.dtype == self.scale.dtype
            return (z + labels) * self.scale

    generator, labels = Mixed(), torch.rand(4, 3)
    expected = generate(generator, 4, labels=labels)
    found = generate(generator.double(), 4, labels=labels)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected)


def test_bfloat16_makes_the_same_images_but_for_their_last_bits():
    torch.manual_seed(0)
    generator = DCGANGenerator(DataSpec((3, 16, 16)), width=8)
    exact, quick = (
        torch.cat(list(generate_batches(generator, 8, batch=8, precision=precision))) for precision in PRECISIONS
    )
    assert quick.dtype == torch.float32
    assert 0 < (exact - quick).abs().max() < 0.05


def test_the_mode_of_a_network_is_put_back():
    for training in (True, False):
        generator = MLPGenerator(DataSpec((4,)), hidden=(8,)).train(training)
        generate(generator, 2)
        assert generator.training is training


def test_labels_go_round():
    assert cycle_labels(5, 3).tolist() == [0, 1, 2, 0, 1]
    assert cycle_labels(5, 0) is None


def test_every_pixel_survives_the_way_to_floats_and_back():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(pixels)), pixels)
    assert to_uint8(torch.tensor([-5.0, 5.0])).tolist() == [0, 255]


def test_a_grid_lays_images_out_in_rows():
    pixels = torch.stack([torch.full((1, 2, 3), value, dtype=torch.uint8) for value in range(1, 6)])
    picture = grid(pixels, columns=2, gap=1)
    assert picture.shape == (1, 3 * 2 + 2, 2 * 3 + 1)
    assert picture[0, 0].tolist() == [1, 1, 1, 0, 2, 2, 2]
    assert picture[0, 6].tolist() == [5, 5, 5, 0, 0, 0, 0]
