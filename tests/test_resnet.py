"""The residual generator against an independent computation."""

import torch
from torch.nn.functional import batch_norm, conv2d, interpolate, linear, relu

from ganforge import DataSpec
from ganforge.builtin.resnet import ResidualGenerator


def test_images_are_those_of_the_formula_in_float64():
    generator = ResidualGenerator(DataSpec((3, 16, 24)), z_dim=5, width=4, max_width=6).double()
    weights = dict(generator.named_parameters())
    z = torch.randn(7, 5, dtype=torch.float64)

    def activate(x, name):
        return relu(batch_norm(x, None, None, weights[f"{name}.weight"], weights[f"{name}.bias"], training=True))

    def double(x):
        return interpolate(x, scale_factor=2.0, mode="nearest")

    x = linear(z, weights["first.weight"], weights["first.bias"]).view(7, 6, 4, 6)
    main = conv2d(double(activate(x, "layers.0.main.0")), weights["layers.0.main.3.weight"], padding=1)
    main = conv2d(activate(main, "layers.0.main.4"), weights["layers.0.main.6.weight"], padding=1)
    x = main + double(conv2d(x, weights["layers.0.skip.0.weight"]))
    pixels = conv2d(double(activate(x, "layers.1")), weights["layers.4.weight"], weights["layers.4.bias"], padding=1)
    torch.testing.assert_close(generator(z), pixels.tanh())


def test_images_of_a_new_generator_use_the_range():
    images = ResidualGenerator(DataSpec((3, 64, 64)), width=32, max_width=256)(torch.randn(64, 100))
    assert 0.2 < images.std() < 0.8
