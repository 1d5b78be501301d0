"""The mixtures have the moments and modes that they say, and depend on nothing but seed and index."""

import math

import numpy as np
import pytest
import torch

from ganforge.builtin.gaussians import Gaussian1D, Grid25, Ring8
from ganforge.contract.errors import OptionError
from ganforge.data import open_data
from ganforge.plugins.registry import Registry


def points(dataset):
    items = dataset.__getitems__(range(len(dataset)))
    return torch.stack([item[0] if isinstance(item, tuple) else item for item in items])


def test_the_line_has_its_mean_and_deviation():
    drawn = points(Gaussian1D(count=100_000)).double()
    assert drawn.shape == (100_000, 1)
    # Five standard errors of a mean and of a deviation.
    assert abs(drawn.mean() - 4) < 5 * 1.25 / math.sqrt(100_000)
    assert abs(drawn.std() - 1.25) < 5 * 1.25 / math.sqrt(200_000)


def test_the_line_is_unlabelled():
    dataset = Gaussian1D(mean=-1.0, deviation=0.5, count=10)
    assert dataset.class_names == ()
    assert dataset[0].shape == (1,)


def test_the_ring_lies_on_the_circle():
    centers = Ring8().centers.double()
    assert torch.allclose(centers.norm(dim=1), torch.ones(8, dtype=torch.float64), atol=1e-7)
    gaps = (centers - centers.roll(1, 0)).norm(dim=1)
    assert torch.allclose(gaps, torch.full((8,), 2 * math.sin(math.pi / 8), dtype=torch.float64), atol=1e-6)


def test_the_grid_is_the_one_of_pacgan():
    expected = {(float(x), float(y)) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert {tuple(center) for center in Grid25().centers.tolist()} == expected


@pytest.mark.parametrize(("kind", "sigma"), [(Ring8, 0.01), (Grid25, 0.05)])
def test_examples_lie_about_the_center_of_their_label(kind, sigma):
    dataset = kind(count=50_000)
    labels = torch.tensor([dataset[index][1] for index in range(100)])
    assert set(labels.tolist()) == set(range(len(dataset.centers)))
    drawn = points(dataset).double()
    distances = torch.cdist(drawn, dataset.centers.double())
    assert torch.equal(distances.argmin(1)[:100], labels)
    assert torch.equal(
        distances.argmin(1).bincount(), torch.full((len(dataset.centers),), 50_000 // len(dataset.centers))
    )
    # A squared distance to the center is 2 sigma^2 in the mean, with a relative standard error of 1 / sqrt(N).
    assert distances.min(1).values.square().mean() == pytest.approx(2 * sigma**2, rel=5 / math.sqrt(50_000))
    assert dataset.sigma == sigma


def test_examples_depend_on_seed_and_index_only():
    whole = points(Ring8(count=1_000, seed=3))
    assert torch.equal(points(Ring8(count=10, seed=3)), whole[:10])
    assert torch.equal(Ring8(count=1_000, seed=3)[7][0], whole[7])
    assert not torch.equal(points(Ring8(count=10, seed=4)), whole[:10])


@pytest.mark.parametrize("options", [{"count": 0}, {"seed": -1}, {"sigma": 0.0}, {"sigma": -1.0}])
def test_numbers_out_of_range_are_errors(options):
    with pytest.raises(OptionError):
        Grid25(**options)


@pytest.mark.parametrize(("name", "dim", "classes"), [("gaussian-1d", 1, 0), ("ring-8", 2, 8), ("grid-25", 2, 25)])
def test_they_open_by_name(name, dim, classes):
    data = open_data(name, registry=Registry.installed(), options={"count": 1_000})
    assert data.spec.shape == (dim,)
    assert data.spec.num_classes == classes
    assert len(data) == 1_000
    assert np.isfinite(data.examples.numpy()).all()
