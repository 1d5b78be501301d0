"""Dragging, on a generator whose image is a spot at a place in its styles."""

import pytest
import torch
from test_explore import Stripes
from torch import nn

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.errors import OptionError
from ganforge.explore import WSpace, drag
from ganforge.explore.dragging import _sample
from ganforge.explore.feature_maps import captured, find_map


class Paint(nn.Module):
    """Three maps of a spot at 16 + 4 w, of three sizes, in 32 or fewer pixels."""

    def __init__(self, edge):
        super().__init__()
        self.line = (torch.arange(edge) + 0.5) * 32 / edge - 0.5

    def forward(self, w):
        x, y = (16 + 4 * w).unbind(1)
        squares = (self.line - x[:, None])[:, None].square() + (self.line - y[:, None])[:, :, None].square()
        return torch.stack([(-squares / (2 * size**2)).exp() for size in (2, 3, 4)], dim=1)


class Spot(StyleGenerator):
    """Layer 0 moves the spot, layer 1 tints it, after the map of 16 pixels and before one of 32."""

    z_dim = w_dim = 2
    num_styles = 2

    def __init__(self):
        super().__init__()
        self.small, self.large = Paint(16), Paint(32)
        self.tint = nn.Parameter(torch.tensor(0.5))

    def mapping(self, z, labels=None, truncation: float = 1.0, cutoff: int = -1):
        return z[:, None].repeat(1, 2, 1)

    def synthesis(self, w, noise: str = "fixed"):
        self.small(w[:, 0])
        return self.large(w[:, 0])[:, :1] * 1.5 - 1 + self.tint * w[:, 1, :1, None, None] * 0.1


def test_a_spot_is_dragged_to_its_target_and_the_tint_is_kept():
    space = WSpace(Spot())
    start = torch.tensor([[-0.5, 0.25], [0.3, -0.3]])  # at 14, 17
    found = drag(space, start, [(14.0, 17.0)], [(18.0, 14.0)], rate=0.05, frames=4)
    place = 16 + 4 * found.latent[0]
    assert (place - torch.tensor([18.0, 14.0])).norm() < 1
    assert (found.handles[-1, 0] - torch.tensor([18.0, 14.0])).norm() <= 0.5
    assert (found.handles[-1, 0] - place).norm() < 0.75  # it is tracked where it is
    assert torch.equal(found.latent[1], start[1])
    assert torch.equal(found.image, space.render(found.latent[None])[0])
    assert torch.equal(found.frames[0], space.render(start[None])[0])
    assert torch.equal(found.frames[-1], found.image)
    assert (found.frame_steps[0], found.frame_steps[-1]) == (0, len(found.handles) - 1)
    assert all(parameter.grad is None for parameter in space.generator.parameters())


class Lagging(Spot):
    """The visible spot is half as far from the center as that of the maps."""

    def synthesis(self, w, noise: str = "fixed"):
        self.small(w[:, 0])
        return self.large(w[:, 0] / 2)[:, :1] * 1.5 - 1 + self.tint * 0


def test_what_is_tracked_is_what_is_visible():
    found = drag(WSpace(Lagging()), torch.zeros(2, 2), [(16.0, 16.0)], [(20.0, 16.0)], edge=16, rate=0.05)
    assert found.handles[-1, 0, 0] > 17
    assert (found.handles[-1, 0] - (16 + 2 * found.latent[0])).norm() <= 0.5


def test_a_handle_at_its_target_stays():
    found = drag(WSpace(Spot()), 3, [(14.0, 17.0)], [(14.0, 17.25)])
    assert len(found.handles) == len(found.frames) == 1
    assert torch.equal(found.latent, WSpace(Spot()).from_seeds([3])[0])


def test_the_map_is_the_largest_that_fits_and_the_image_is_none():
    generator = Spot()
    space = WSpace(generator)
    assert find_map(space, 16) is generator.small
    assert find_map(space, 31) is generator.small
    assert find_map(space, 32) is generator.large
    with pytest.raises(OptionError, match="no feature map of at most 8 pixels") as caught:
        find_map(space, 8)
    assert caught.value.hint == "it has maps of 16, 32"
    with pytest.raises(OptionError, match="Stripes has no feature map"):
        find_map(WSpace(Stripes()), 8)
    with captured(generator.small) as read:
        space.decode(space.from_seeds([1]))
        assert read().shape == (1, 3, 16, 16)
    assert not generator.small._forward_hooks


def test_features_are_interpolated_between_pixels():
    maps = torch.arange(12.0).view(1, 1, 3, 4)  # y * 4 + x
    points = torch.tensor([[[0.0, 0.0], [3.0, 2.0]], [[1.5, 0.5], [2.25, 1.0]]])
    expected = torch.tensor([[0, 11], [3.5, 6.25]])
    assert torch.allclose(_sample(maps, points)[..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("point", [(32.0, 0.0), (0.0, -1.0)])
def test_points_outside_of_the_image_are_refused(point):
    for handle, target in ((point, (1.0, 1.0)), ((1.0, 1.0), point)):
        with pytest.raises(OptionError, match="outside of the image"):
            drag(WSpace(Spot()), 0, [handle], [target])
