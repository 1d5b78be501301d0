"""Authenticity: closed forms, copies, and the command."""

import json
import math

import pytest
import torch

from ganforge.contract.errors import DataError
from ganforge.evaluation.statistics import authenticity


@pytest.mark.parametrize(
    ("dims", "mutual"), [(1, 2 / 3), (2, 6 * math.pi / (8 * math.pi + 3 * math.sqrt(3)))], ids=["line", "plane"]
)
def test_unseen_points_are_authentic_unless_nearest_neighbors_of_each_other(dims, mutual):
    """Mutual nearest neighbors: Clark and Evans 1955, Pickard 1982."""
    source = torch.Generator().manual_seed(0)
    real, unseen = (torch.rand(2500, dims, generator=source) for _ in range(2))
    assert authenticity(real, unseen) == pytest.approx(1 - mutual, abs=0.03)


def test_the_share_is_that_of_the_definition():
    source = torch.Generator().manual_seed(1)
    real, fake = torch.randn(60, 3, generator=source), torch.randn(50, 3, generator=source) * 1.1
    real[7] = real[3]  # duplicates are their own nearest others
    fake[:4] = real[3]
    far, among = torch.cdist(fake.double(), real.double()), torch.cdist(real.double(), real.double())
    among.fill_diagonal_(torch.inf)
    wanted = [bool(row.min() > among[row.argmin()].min()) for row in far]
    assert authenticity(real, fake) == pytest.approx(sum(wanted) / 50, abs=1e-12)
    assert not any(wanted[:4])


def test_copies_are_not_authentic_and_noise_is():
    real = torch.randn(40, 4, generator=torch.Generator().manual_seed(2))
    assert authenticity(real, real + 1e-4) == 0
    assert authenticity(real, real + 100) == 1
    assert authenticity(real[:2], torch.cat([real[:2], real[:2] + 100])) == 0.5
    with pytest.raises(DataError, match="real features are of 1 image"):
        authenticity(real[:1], real)


def test_the_command_searches_the_training_images(run, here, image_folder):
    arguments = ["eval", image_folder, "--data", image_folder, "--authenticity", "--extractor", "random"]
    code, out, err = run(*arguments, "--device", "cpu", "--json")
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["metric"], row["value"], row["better"]) == ("authenticity_random", 0, "higher")
    low, high = row["interval"]["low"], row["interval"]["high"]
    assert (low, 0 < high < 0.2) == (0, True)
    assert "unseen real images have 0.33 to 0.5" in err
    code, _, err = run(*arguments, "--references", "20", "--device", "cpu")
    assert code == 0, err
    assert "searched 20 of" in err
    code, _, err = run(*arguments, "--split", "all", "--device", "cpu")
    assert code == 2
    assert "--authenticity searches the training images" in err
