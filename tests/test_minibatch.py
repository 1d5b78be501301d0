import pytest
import torch

from ganforge import DataSpec, MinibatchDeviation, MinibatchDiscrimination
from ganforge.builtin.dcgan import DCGANDiscriminator
from ganforge.builtin.mlp import MLPDiscriminator
from ganforge.testing import check_discriminator


def test_deviation_is_the_mean_over_features_of_their_deviation_over_the_batch():
    features = torch.randn(6, 5, dtype=torch.float64)
    expected = sum(((column - column.mean()) ** 2).mean().sqrt().item() for column in features.T) / 5
    found = MinibatchDeviation()(features)
    assert found.shape == (6, 1)
    assert found.flatten().tolist() == pytest.approx([expected] * 6, rel=1e-6)
    assert MinibatchDeviation()(features[:1].expand(6, 5)).max() < 1e-3  # no variety


def test_each_group_has_a_deviation_of_its_own():
    torch.manual_seed(0)
    features = torch.randn(8, 5, dtype=torch.float64)
    found = MinibatchDeviation(4)(features)
    for index in range(8):
        alone = MinibatchDeviation()(features[index % 2 :: 2])
        assert found[index].item() == pytest.approx(alone[0].item(), rel=1e-12)
    for count, group in ((6, 4), (2, 4), (3, 8), (5, 1)):
        assert MinibatchDeviation(group)(features[:count]).shape == (count, 1)
    assert torch.equal(MinibatchDeviation(8)(features[:3]), MinibatchDeviation()(features[:3]))


def test_discrimination_sums_the_nearness_to_every_example():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(5, num_statistics=3, dim=2).double()
    features = torch.randn(4, 5, dtype=torch.float64)
    matrix = layer.project.weight.view(3, 2, 5)
    for i in range(4):
        for b in range(3):
            nearness = [torch.exp(-(matrix[b] @ features[i] - matrix[b] @ features[j]).abs().sum()) for j in range(4)]
            assert layer(features)[i, b].item() == pytest.approx(sum(nearness).item(), rel=1e-12)
    assert torch.allclose(layer(features[:1].expand(4, 5)), torch.full((4, 3), 4.0, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["deviation", "discrimination"])
@pytest.mark.parametrize(
    ("factory", "options"), [(DCGANDiscriminator, {"width": 4}), (MLPDiscriminator, {"hidden": (8,)})]
)
def test_a_discriminator_tells_a_batch_without_variety(factory, options, kind):
    torch.manual_seed(0)
    data = DataSpec((1, 16, 16))
    check_discriminator(factory, data, minibatch=kind, **options)
    discriminator = factory(data, minibatch=kind, **options).eval()
    images = torch.randn(8, 1, 16, 16)
    alone = discriminator(images[:1].expand(8, 1, 16, 16))[0]
    among_others = discriminator(images)[0]
    assert not torch.isclose(alone, among_others)


@pytest.mark.parametrize(
    ("factory", "options"), [(DCGANDiscriminator, {"width": 4}), (MLPDiscriminator, {"hidden": (8,)})]
)
def test_without_statistics_nothing_is_added(factory, options):
    network = factory(DataSpec((1, 16, 16)), **options)
    assert not [name for name in network.state_dict() if "minibatch" in name]
