import math
import warnings

import numpy as np
import pytest
import torch

from ganforge.contract.errors import DataError, OptionError
from ganforge.evaluation.statistics import (
    GroupedMoments,
    Moments,
    compare_distances,
    features,
    frechet_distance,
    frechet_infinity,
    frechet_interval,
    frechet_of_few,
    half_sample_interval,
    half_samples,
    inception_score,
    kernel_distance,
    nearest,
    precision_recall_density_coverage,
    seed_interval,
    share_interval,
    spread_interval,
)
from ganforge.evaluation.statistics.intervals import student_quantile
from ganforge.evaluation.statistics.memorization import mann_whitney

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric


def draw(count, dimensions, seed, *, shift=0.0, scale=1.0):
    """Correlated features in float64."""
    source = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(dimensions)).double()
    plain = torch.randn(count, dimensions, generator=source).double()
    return (plain + 0.5 * plain @ mixing / dimensions**0.5) * scale + shift


def exactly(mean, covariance):
    """Moments of these very values."""
    mean, covariance = (torch.as_tensor(each, dtype=torch.float64) for each in (mean, covariance))
    moments = Moments(len(mean))
    moments._count, moments._mean, moments._scatter = 1001, mean, covariance * 1000
    return moments


def frechet(reals, fakes):
    return frechet_distance(Moments.of(reals), Moments.of(fakes))


def frechet_by_singular_values(reals, fakes):
    """With covariances A^T A and B^T B, the trace of the root is the sum of the singular values of A B^T."""
    shift = (reals.mean(0) - fakes.mean(0)).square().sum()
    first, second = ((each - each.mean(0)) / (len(each) - 1) ** 0.5 for each in (reals.double(), fakes.double()))
    shared = torch.linalg.svdvals(first @ second.T).sum()
    return (shift + first.square().sum() + second.square().sum() - 2 * shared).item()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(features, "ROWS", 7)


# Moments


def test_moments_of_batches_are_those_of_all_rows(small_blocks):
    rows = draw(100, 5, 0, shift=3.0).float()
    moments = Moments(5)
    for batch in rows.split([1, 30, 0, 2, 67]):
        moments.update(batch)
    assert (moments.count, moments.dimensions) == (100, 5)
    np.testing.assert_allclose(moments.mean, rows.double().mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(rows.double().numpy(), rowvar=False), rtol=1e-12)


def test_a_large_mean_costs_no_digits():
    rows = torch.randn(300, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = (rows * 2**20).round() / 2**20  # so that adding the mean below rounds nothing
    moments = Moments(4)
    for batch in (rows + 2.0**30).split(50):
        moments.update(batch)
    np.testing.assert_allclose(moments.covariance, np.cov(rows.numpy(), rowvar=False), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_float_type_is_averaged_in_float64(dtype):
    rows = draw(5000, 2, 1, shift=50.0).to(dtype).requires_grad_()
    moments = Moments.of(rows)
    assert not moments.mean.requires_grad
    np.testing.assert_allclose(moments.mean, rows.detach().double().mean(0), rtol=1e-12)


def test_moments_merge_in_any_order():
    rows = draw(90, 4, 2)
    first, second = Moments.of(rows[:20]), Moments.of(rows[20:])
    before = second.count, second.mean, second.covariance
    first.merge(second)
    first.merge(Moments(4))
    empty = Moments(4)
    empty.merge(Moments.of(rows))
    np.testing.assert_allclose(first.covariance, empty.covariance, rtol=1e-12)
    np.testing.assert_allclose(first.mean, rows.mean(0), rtol=1e-12, atol=1e-14)
    assert second.count == before[0]
    assert torch.equal(second.mean, before[1])
    assert torch.equal(second.covariance, before[2])


def test_a_refused_batch_leaves_moments_as_they_were():
    moments = Moments.of(draw(20, 3, 4))
    before = moments.count, moments.mean, moments.covariance
    bad = draw(20, 3, 5)
    bad[17, 1] = math.nan
    with pytest.raises(DataError, match="not finite in 1 of 20 rows, first in row 17"):
        moments.update(bad)
    with pytest.raises(DataError, match="4 dimensions, earlier ones 3"):
        moments.update(draw(5, 4, 5))
    with pytest.raises(DataError, match="4 dimensions"):
        moments.merge(Moments.of(draw(5, 4, 5)))
    assert moments.count == before[0]
    assert torch.equal(moments.mean, before[1])
    assert torch.equal(moments.covariance, before[2])


# Frechet


def test_frechet_distance_of_gaussians_with_common_axes():
    axes = torch.linalg.qr(draw(6, 6, 7)).Q
    first, second = torch.tensor([1e-4, 1, 2, 3, 4, 900.0]).double(), torch.tensor([9, 1, 0.5, 3, 100, 1e-6]).double()
    shift = torch.arange(6).double()
    found = frechet_distance(
        exactly(shift * 0, axes @ first.diag() @ axes.T), exactly(shift, axes @ second.diag() @ axes.T)
    )
    expected = shift.square().sum() + (first.sqrt() - second.sqrt()).square().sum()
    assert found == pytest.approx(expected.item(), rel=1e-9)


def test_frechet_distance_of_gaussians_in_the_plane():
    first, second = torch.tensor([[2.0, 0.9], [0.9, 1.0]]).double(), torch.tensor([[1.0, -0.7], [-0.7, 3.0]]).double()
    shared = ((first @ second).trace() + 2 * (first.det() * second.det()).sqrt()).sqrt()
    expected = 1.0 + first.trace() + second.trace() - 2 * shared
    assert frechet_distance(exactly([0, 0], first), exactly([0, 1], second)) == pytest.approx(
        expected.item(), rel=1e-12
    )


@pytest.mark.parametrize(("ours", "theirs"), [(400, 300), (400, 40), (40, 400), (40, 30), (2, 2)])
def test_frechet_distance_equals_that_by_singular_values_of_the_features(ours, theirs):
    reals, fakes = draw(ours, 64, 8), draw(theirs, 64, 9, shift=0.1, scale=1.3)
    found = frechet(reals, fakes)
    assert found == pytest.approx(frechet_by_singular_values(reals, fakes), rel=1e-9)
    assert frechet(fakes, reals) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), [(400, 300), (40, 300)])
def test_frechet_distance_equals_that_of_torch_fidelity(ours, theirs):
    reals, fakes = draw(ours, 64, 10), draw(theirs, 64, 11, shift=0.1)
    statistics = [fid_features_to_statistics(each) for each in (reals, fakes)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet(reals, fakes) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [20, 200])
def test_frechet_distance_of_a_set_with_itself_is_zero(count):
    rows = draw(count, 50, 12)
    assert 0 <= frechet(rows, rows) < 1e-6


def test_dependent_and_constant_features_are_taken_as_they_are():
    reals, fakes = draw(200, 6, 13), draw(200, 6, 14, scale=2.0)
    wide = [
        torch.cat([each, each[:, :2] * 3, each.sum(1, keepdim=True), each[:, :1] * 0 + 7], 1) for each in (reals, fakes)
    ]
    assert frechet(*wide) == pytest.approx(frechet_by_singular_values(*wide), rel=1e-7)


@pytest.mark.parametrize("seed", range(100, 120))
def test_rounding_does_not_make_singular_covariances_regular(seed):
    few, many = draw(2, 2, seed), draw(200, 2, seed + 50)
    assert frechet(few, many) == pytest.approx(frechet_by_singular_values(few, many), rel=1e-11)
    dependent = many @ draw(2, 3, seed + 100)
    others = draw(200, 3, seed + 150)
    assert frechet(dependent, others) == pytest.approx(frechet_by_singular_values(dependent, others), rel=1e-11)


def test_constant_features_have_the_distance_of_their_means():
    point = torch.ones(5, 3)
    assert frechet(point, point * 3) == pytest.approx(12, rel=1e-12)
    rows = draw(50, 3, 17)
    expected = (rows.mean(0) - 1).square().sum() + Moments.of(rows).covariance.trace()
    assert frechet(point, rows) == pytest.approx(expected.item(), rel=1e-9)
    assert frechet(rows, point) == pytest.approx(expected.item(), rel=1e-9)


def test_the_largest_features_overflow_nothing():
    largest = 1e18
    rows = draw(20, 3, 18).clamp(-1, 1) * largest
    assert math.isfinite(frechet(rows, -rows.abs()))
    distance = kernel_distance(rows, -rows, subset_size=20, subsets=2)
    assert math.isfinite(distance.deviation)
    assert math.isfinite(distance.interval.high)
    with pytest.raises(DataError, match="not finite in"):
        Moments.of(rows * 10)


@pytest.mark.parametrize(
    ("fakes", "said"),
    [
        (torch.zeros(1, 3), "generated features are of 1 image"),
        (torch.zeros(4, 2), "real features have 3 dimensions, generated ones 2"),
    ],
)
def test_moments_that_do_not_fit_are_refused(fakes, said):
    with pytest.raises(DataError, match=said):
        frechet(draw(10, 3, 19), fakes)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "statistic",
    [
        lambda reals, fakes: frechet(reals, fakes),
        lambda reals, fakes: frechet_infinity(Moments.of(reals), fakes, smallest=5, points=3),
        lambda reals, fakes: kernel_distance(reals, fakes, subset_size=5),
        lambda reals, fakes: inception_score(fakes),
        lambda reals, fakes: precision_recall_density_coverage(reals, fakes),
        lambda reals, fakes: nearest(fakes, reals),
        lambda reals, fakes: memorization(fakes, reals, reals),
        lambda reals, fakes: half_sample_interval(lambda each: 0.0, fakes),
    ],
)
def test_features_that_are_not_finite_are_refused_everywhere(statistic, value):
    reals, fakes = draw(30, 3, 20), draw(30, 3, 21)
    statistic(reals, fakes)
    fakes[11, 2] = value
    with pytest.raises(DataError, match="are not finite in 1 of 30 rows, first in row 11"):
        statistic(reals, fakes)


@pytest.mark.parametrize("rows", [torch.zeros(4), torch.zeros(4, 3, 2), torch.zeros(4, 3).int(), torch.zeros(4, 0)])
def test_what_is_no_set_of_features_is_refused(rows):
    with pytest.raises(DataError, match="features are torch"):
        Moments.of(rows)


def test_frechet_infinity_frees_of_the_bias():
    reals = Moments.of(draw(20_000, 16, 22))
    fakes = draw(3000, 16, 23, shift=0.05)
    truth = frechet(draw(40_000, 16, 24), draw(40_000, 16, 25, shift=0.05))
    found = frechet_infinity(reals, fakes, smallest=200, seed=1)
    assert found == frechet_infinity(reals, fakes, smallest=200, seed=1)
    assert found.value != frechet_infinity(reals, fakes, smallest=200, seed=2).value
    assert (found.sizes[0], found.sizes[-1], len(found.sizes)) == (200, 3000, 15)
    assert found.distances[-1] == pytest.approx(frechet_distance(reals, Moments.of(fakes)), rel=1e-9)
    assert found.distances[0] > 2 * truth
    assert abs(found.value - truth) < 0.5 * abs(found.distances[-1] - truth) + 3 * found.standard_error
    coefficients, covariance = np.polyfit(1 / np.array(found.sizes), found.distances, 1, cov=True)
    assert (found.slope, found.value) == pytest.approx(tuple(coefficients), rel=1e-9)
    assert found.standard_error == pytest.approx(covariance[1, 1] ** 0.5, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"smallest": 99, "points": 5}, "it may have 9 to 96"),
        ({"smallest": 8, "points": 5}, "it may have 9 to 96"),
        ({"smallest": 9, "points": 2}, "use 3 or more"),
        ({"smallest": 9, "points": 99}, "8 dimensions need 107 images"),
    ],
)
def test_subsets_that_give_no_line_are_refused(options, said):
    with pytest.raises(OptionError, match=said):
        frechet_infinity(Moments.of(draw(50, 8, 26)), draw(100, 8, 27), **options)


# Kernel distance


def test_kernel_distance_equals_that_of_torch_fidelity():
    reals, fakes = draw(80, 12, 28), draw(60, 12, 29, shift=0.3)
    found = kernel_distance(reals, fakes, subsets=7, subset_size=40, seed=5)
    theirs = kid_features_to_metric(fakes, reals, kid_subsets=7, kid_subset_size=40, rng_seed=5, verbose=False)
    assert found.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert found.deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)
    assert found == kernel_distance(reals, fakes, subsets=7, subset_size=40, seed=5)
    assert found.mean != kernel_distance(reals, fakes, subsets=7, subset_size=40, seed=6).mean


def test_kernel_distance_is_the_double_sum_of_its_definition():
    reals, fakes = draw(6, 3, 30), draw(6, 3, 31)

    def kernel(first, second):
        return (float(first @ second) / 3 + 1) ** 3

    within = sum(
        kernel(a, b) for rows in (reals, fakes) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j
    )
    between = sum(kernel(a, b) for a in reals for b in fakes)
    found = kernel_distance(reals, fakes, subsets=1, subset_size=6)
    assert found.mean == pytest.approx(within / 30 - 2 * between / 36, rel=1e-12)


def test_kernel_distance_is_unbiased_and_its_interval_holds_the_truth():
    # In one dimension the kernel is that of the first three moments, with weights 3, 3 and 1.
    shift = 0.5
    truth = 3 * shift**2 + 3 * (shift**2) ** 2 + (shift**3 + 3 * shift) ** 2
    means, held = [], 0
    for seed in range(100):
        rows = torch.randn(240, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        found = kernel_distance(rows[:120], rows[120:] + shift, subsets=10, subset_size=60, seed=seed)
        means.append(found.mean)
        held += found.interval.low <= truth <= found.interval.high
    assert np.mean(means) == pytest.approx(truth, abs=4 * np.std(means) / 10)
    assert 80 <= held <= 100


def test_kernel_distances_that_cannot_be_had_are_refused():
    reals, fakes = draw(80, 3, 32), draw(60, 3, 33)
    with pytest.raises(
        OptionError, match="subsets of 1000 from 80 real and 60 generated images .they may have 2 to 60"
    ):
        kernel_distance(reals, fakes)
    with pytest.raises(OptionError, match="0 subsets"):
        kernel_distance(reals, fakes, subset_size=2, subsets=0)
    with pytest.raises(OptionError, match="level 95"):
        kernel_distance(reals, fakes, subset_size=2, subsets=1, level=95)
    with pytest.raises(DataError, match="generated features are of 3 images"):
        kernel_distance(reals, fakes[:3])
    constant = kernel_distance(torch.ones(9, 2), torch.ones(9, 2), subset_size=9)
    assert (constant.mean, constant.deviation) == (0, 0)


# Inception score


@pytest.mark.parametrize(("count", "splits"), [(100, 10), (101, 7), (5, 5)])
def test_inception_score_equals_that_of_torch_fidelity(count, splits):
    logits = draw(count, 12, 34, scale=3.0).float()
    theirs = isc_features_to_metric(logits, splits=splits)
    found = inception_score(logits, splits=splits)
    assert found.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert found.deviation == pytest.approx(theirs["inception_score_std"], rel=1e-9, abs=1e-12)


def test_inception_score_lies_between_one_and_the_number_of_classes():
    assert inception_score(torch.zeros(40, 6), splits=2).mean == pytest.approx(1, rel=1e-12)
    sure = torch.eye(6).repeat(10, 1) * 5000  # all other classes have a probability of exactly 0
    assert inception_score(sure, splits=1).mean == pytest.approx(6, rel=1e-12)
    assert inception_score(sure[:, :1] @ torch.ones(1, 6) + sure[0], splits=1).mean == pytest.approx(1, rel=1e-12)
    with pytest.raises(OptionError, match="10 splits of 6 images .take 1 to 6"):
        inception_score(torch.zeros(6, 6))


# Neighbors


def brute_distances(first, second):
    return (first.double()[:, None] - second.double()).square().sum(2)


def brute_scores(reals, fakes, neighbours, coverage_neighbours):
    def radii(rows, count):
        among = brute_distances(rows, rows)
        among.fill_diagonal_(math.inf)
        return among.sort(1).values[:, count - 1]

    between = brute_distances(fakes, reals)
    wide = between < radii(reals, coverage_neighbours)  # open, as in the authors' code
    return (
        (between <= radii(reals, neighbours)).any(1).double().mean().item(),
        (between <= radii(fakes, neighbours)[:, None]).any(0).double().mean().item(),
        wide.sum().item() / (coverage_neighbours * len(fakes)),
        wide.any(0).double().mean().item(),
    )


def lattice(count, dimensions, seed):
    """Features with many equal distances and many duplicates, far from 0."""
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 3, (count, dimensions), generator=source).float() / 3 + 1000


@pytest.mark.parametrize(
    ("reals", "fakes"),
    [
        (draw(60, 8, 35), draw(45, 8, 36, scale=0.8)),
        (draw(60, 8, 35, shift=1e5).float(), draw(45, 8, 36, shift=1e5).float()),
        (lattice(50, 3, 37), lattice(40, 3, 38)),
        (lattice(50, 40, 37), lattice(40, 40, 38)),
        (draw(30, 4, 39).repeat(2, 1), draw(30, 4, 39)),
        (torch.ones(30, 4), torch.ones(20, 4)),
        (torch.ones(30, 4), torch.ones(20, 4) + 1e-6),
    ],
)
@pytest.mark.parametrize(("neighbours", "coverage_neighbours"), [(3, 5), (4, 1)])
def test_balls_are_those_of_a_computation_by_all_pairs(small_blocks, reals, fakes, neighbours, coverage_neighbours):
    found = precision_recall_density_coverage(
        reals, fakes, neighbors=neighbours, coverage_neighbors=coverage_neighbours
    )
    expected = brute_scores(reals, fakes, neighbours, coverage_neighbours)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected, rel=1e-12)


def test_precision_and_recall_equal_those_of_torch_fidelity():
    reals, fakes = draw(150, 6, 40), draw(120, 6, 41, scale=0.7)
    found = precision_recall_density_coverage(reals, fakes)
    theirs = prc_features_to_metric(
        fakes, reals, prc_neighborhood=3, prc_batch_size=1000, save_cpu_ram=False, verbose=False
    )
    assert (found.precision, found.recall) == pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-6)
    assert 0.5 < found.recall < found.precision < 1


def test_balls_tell_fidelity_from_variety():
    reals = draw(400, 4, 42)
    collapsed = precision_recall_density_coverage(reals, reals.mean(0) + 0.01 * draw(400, 4, 43))
    assert collapsed.precision > 0.9
    assert collapsed.recall < 0.1
    assert collapsed.coverage < 0.2
    away = precision_recall_density_coverage(reals, draw(400, 4, 44, shift=1000.0))
    assert (away.precision, away.recall, away.density, away.coverage) == (0, 0, 0, 0)


def test_more_neighbours_than_images_are_refused():
    with pytest.raises(OptionError, match="precision and recall by 3 nearest neighbors in 3 images .take 1 to 2"):
        precision_recall_density_coverage(draw(9, 2, 45), draw(3, 2, 46))
    with pytest.raises(OptionError, match="density and coverage by 5 nearest neighbors in 5 images .take 1 to 4"):
        precision_recall_density_coverage(draw(5, 2, 45), draw(9, 2, 46))
    with pytest.raises(DataError, match="generated features are of 1 image"):
        precision_recall_density_coverage(draw(5, 2, 45), draw(1, 2, 46))


@pytest.mark.parametrize("count", [1, 4, 23])
def test_nearest_rows_are_those_of_a_computation_by_all_pairs(small_blocks, count):
    queries, references = draw(17, 6, 47), draw(23, 6, 48)
    expected = brute_distances(queries, references).sqrt().sort(1)
    found = nearest(queries, references, count=count)
    assert torch.equal(found.indices, expected.indices[:, :count])
    np.testing.assert_allclose(found.distances, expected.values[:, :count], rtol=1e-12)


def test_a_duplicate_is_at_distance_zero_however_far_from_the_origin(small_blocks):
    rows = draw(30, 50, 49, shift=1e6).float()
    found = nearest(rows[[28, 3]], torch.cat([rows, rows[3:4]]), count=2)
    assert found.distances[0, 0] == 0
    assert found.distances[1].tolist() == [0, 0]
    assert found.distances[0, 1] > 0
    assert found.indices[0, 0] == 28
    assert set(found.indices[1].tolist()) == {3, 30}


def test_rows_nearer_to_each_other_than_products_can_tell_are_in_order():
    offsets = torch.arange(9, 0, -1).double()[:, None] * 1e-3
    references = torch.cat([offsets.expand(-1, 4), torch.full((1, 4), 1e9).double()])
    found = nearest(torch.zeros(1, 4), references, count=9)
    assert found.indices[0].tolist() == list(range(8, -1, -1))
    np.testing.assert_allclose(found.distances[0], 2 * offsets.flip(0)[:, 0], rtol=1e-12)


def test_neighbours_that_are_not_there_are_refused():
    with pytest.raises(OptionError, match="4 nearest of 3 rows .take 1 to 3"):
        nearest(draw(5, 2, 50), draw(3, 2, 51), count=4)
    with pytest.raises(DataError, match="queries have 2 dimensions, references 3"):
        nearest(draw(5, 2, 50), draw(3, 3, 51))
    with pytest.raises(DataError, match="references are of 0 images"):
        nearest(draw(5, 2, 50), draw(0, 2, 51))


# Memorization


def memorization(fakes, held_out, training, quantile=0.05):
    distances = (nearest(each, training).distances[:, 0] for each in (fakes, held_out))
    return compare_distances(*distances, quantile=quantile)


def test_copies_are_told_from_new_images():
    training, held_out, fresh = draw(500, 3, 52), draw(400, 3, 53), draw(300, 3, 54)
    honest = memorization(fresh, held_out, training)
    assert honest.generated == pytest.approx(brute_distances(fresh, training).sqrt().amin(1).mean().item(), rel=1e-12)
    assert honest.held_out == pytest.approx(brute_distances(held_out, training).sqrt().amin(1).mean().item(), rel=1e-12)
    assert 0.01 < honest.duplicates < 0.12
    assert abs(honest.copying) < 3
    copies = memorization(training[:300] + 1e-3 * fresh, held_out, training)
    assert copies.duplicates == 1
    assert copies.copying < -15
    half = memorization(torch.cat([training[:150], fresh[:150]]), held_out, training)
    assert 0.5 < half.duplicates < 0.6
    assert memorization(fresh * 3, held_out, training).copying > 5
    same = memorization(held_out, held_out, training, quantile=0.25)
    assert same.duplicates == 0.25
    assert same.copying == 0


def test_the_test_of_mann_and_whitney_counts_ties_half():
    first, second = torch.tensor([1.0, 2, 2, 5]), torch.tensor([2.0, 3, 1, 0, 0])
    wins = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    # 2 zeros, 2 ones and 3 twos: 6 + 6 + 24 of the 720 ways that 9 would be tied.
    deviation = math.sqrt(20 / 12 * (10 - (6 + 6 + 24) / 72))
    assert mann_whitney(first, second) == pytest.approx((float(wins) - 10) / deviation, rel=1e-12)
    assert mann_whitney(torch.ones(5), torch.ones(3)) == 0


def test_memorization_without_enough_held_out_images_is_refused():
    with pytest.raises(DataError, match="0.05 quantile of 19 held-out images .* .hold out 20 or more"):
        memorization(draw(5, 2, 55), draw(19, 2, 56), draw(9, 2, 57))
    with pytest.raises(OptionError, match="quantile 1"):
        memorization(draw(5, 2, 55), draw(19, 2, 56), draw(9, 2, 57), quantile=1)
    with pytest.raises(DataError, match="queries have 3 dimensions, references 2"):
        memorization(draw(5, 2, 55), draw(20, 3, 56), draw(9, 2, 57))


# Intervals


@pytest.mark.parametrize(
    ("level", "freedom", "quantile"),
    [
        (0.95, 1, 12.7062047),
        (0.95, 2, 4.30265273),
        (0.99, 3, 5.84090931),
        (0.95, 10, 2.22813885),
        (0.95, 10**5, 1.959987),
    ],
)
def test_quantiles_of_students_distribution(level, freedom, quantile):
    assert student_quantile(level, freedom) == pytest.approx(quantile, rel=1e-6)


def test_an_interval_over_seeds_is_students():
    found = seed_interval([1.0, 2.0, 6.0])
    reach = 4.30265273 * math.sqrt(7 / 3)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3 - reach, 3 + reach), rel=1e-6)
    assert seed_interval([5.0, 5.0]).low == 5
    for values, said in (([1.0], "over 1 value"), ([1.0, math.nan], "not all of 2 values are finite")):
        with pytest.raises(DataError, match=said):
            seed_interval(values)


def test_halves_of_sets_give_the_normal_interval_of_a_mean():
    rows = draw(400, 1, 61)
    found = half_sample_interval(lambda each: each.mean().item(), rows, level=0.9, draws=1000)
    reach = 1.6449 * rows.std().item() / 20
    assert found.value == pytest.approx(rows.mean().item(), rel=1e-12)
    assert found.low == pytest.approx(found.value - reach, abs=0.15 * reach)
    assert found.high == pytest.approx(found.value + reach, abs=0.15 * reach)
    assert found == half_sample_interval(lambda each: each.mean().item(), rows, level=0.9, draws=1000)


def test_halves_of_sets_hold_a_frechet_distance():
    pairs = [(draw(200, 8, 2 * seed), draw(200, 8, 2 * seed + 1, shift=0.5)) for seed in range(100, 150)]
    average = np.mean([frechet(*pair) for pair in pairs])
    intervals = [half_sample_interval(frechet, *pair, draws=40) for pair in pairs]
    assert 40 <= sum(each.low <= average <= each.high for each in intervals) <= 50
    assert all(each.low < each.value < each.high for each in intervals)


def test_an_interval_of_halves_is_students_by_the_draws_themselves():
    ours, theirs = draw(41, 3, 62), draw(30, 3, 63)
    pairs = list(half_samples(ours, theirs, seed=5))
    assert [(len(first), len(second)) for first, second in pairs] == [(20, 15)] * 20
    for halves in pairs:
        for half, whole in zip(halves, (ours, theirs), strict=True):
            chosen = (half[:, None] == whole).all(dim=2)
            assert chosen.sum(1).eq(1).all()  # rows of the set
            assert chosen.sum(0).max() == 1  # and none of them twice
    assert not torch.equal(pairs[0][0], pairs[1][0])
    values = [frechet(*halves) for halves in pairs]
    found = half_sample_interval(frechet, ours, theirs, seed=5)
    reach = 2.0930240544 * np.std(values, ddof=1)  # Student's t of 19 degrees of freedom at 95 %
    value = frechet(ours, theirs)
    assert (found.value, found.low, found.high) == pytest.approx((value, value - reach, value + reach), rel=1e-9)


def test_a_spread_of_draws_does_not_depend_on_where_they_lie():
    found = spread_interval(10.0, [1.0, 2.0, 6.0])
    reach = 4.30265273 * math.sqrt(7)
    assert (found.value, found.low, found.high) == pytest.approx((10, 10 - reach, 10 + reach), rel=1e-6)
    assert spread_interval(10.0, [101.0, 102.0, 106.0]) == found
    with pytest.raises(OptionError, match="1 draws give no interval"):
        spread_interval(1.0, [1.0])
    with pytest.raises(DataError, match="not finite"):
        spread_interval(1.0, [1.0, math.inf])


def test_an_interval_of_a_share_is_that_of_shares_as_far_off_as_its_quantile():
    """Wilson's ends with continuity correction solve ``|share - p| - 1 / 2N = t sqrt(p (1 - p) / N)``."""
    for share, count in ((0.3, 40), (0.5, 7), (0.99, 1000)):
        found = share_interval(share, count, level=0.9)
        for end in (found.low, found.high):
            assert abs(share - end) - 0.5 / count == pytest.approx(
                1.6448536 * math.sqrt(end * (1 - end) / count), rel=1e-6
            )
        assert found.low < found.value == share < found.high
    assert share_interval(0.0, 10).low == 0
    assert share_interval(1.0, 10).high == 1
    for share, count in ((0.5, 0), (1.5, 10), (math.nan, 10)):
        with pytest.raises(DataError, match="a share of"):
            share_interval(share, count)


def test_an_interval_of_a_share_holds_the_truth_about_as_often_as_it_says():
    for truth in (0.5, 0.9, 0.003):
        drawn = np.random.RandomState(3).binomial(60, truth, size=400) / 60
        intervals = [share_interval(float(share), 60) for share in drawn]
        assert 0.92 <= np.mean([each.low <= truth <= each.high for each in intervals]) <= 1


@pytest.mark.parametrize(("count", "groups"), [(500, 8), (23, 8), (9, 4), (4, 2)])
def test_groups_together_have_the_moments_of_all_rows(count, groups):
    rows = draw(count, 3, 64, shift=5.0)
    found, expected = GroupedMoments(rows), Moments.of(rows)
    assert len(found.groups) == groups
    sizes = [each.count for each in found.groups]
    assert max(sizes) - min(sizes) <= 1
    assert found.whole.count == sum(sizes) == count
    torch.testing.assert_close(found.whole.mean, expected.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.whole.covariance, expected.covariance, rtol=1e-12, atol=1e-12)


def test_some_groups_have_the_moments_of_their_rows():
    rows = draw(40, 3, 65)
    found = GroupedMoments(rows, seed=2)
    parts = np.array_split(np.random.RandomState(2).permutation(40), 8)
    some = Moments.of(rows[torch.from_numpy(np.concatenate([parts[1], parts[7]]))])
    torch.testing.assert_close(found.merged([7, 1]).covariance, some.covariance, rtol=1e-12, atol=1e-12)
    assert found.whole.count == 40  # merging leaves it as it was
    with pytest.raises(DataError, match="features are of 3 images"):
        GroupedMoments(rows[:3])


def test_an_interval_by_groups_is_about_the_distance_and_as_wide_as_one_by_halves():
    ours, theirs = draw(400, 6, 66), draw(400, 6, 67, shift=0.4)
    found = frechet_interval(GroupedMoments(ours), GroupedMoments(theirs))
    assert found.value == pytest.approx(frechet(ours, theirs), rel=1e-12)
    assert found == frechet_interval(GroupedMoments(ours), GroupedMoments(theirs))
    assert found.low == pytest.approx(2 * found.value - found.high, rel=1e-12)
    by_halves = half_sample_interval(frechet, ours, theirs)
    assert 0.5 < (found.high - found.low) / (by_halves.high - by_halves.low) < 2


def test_an_interval_by_groups_holds_the_average_distance():
    pairs = [(draw(200, 8, 2 * seed), draw(200, 8, 2 * seed + 1, shift=0.5)) for seed in range(100, 150)]
    average = np.mean([frechet(*pair) for pair in pairs])
    intervals = [frechet_interval(*map(GroupedMoments, pair)) for pair in pairs]
    assert 43 <= sum(each.low <= average <= each.high for each in intervals) <= 50


def test_an_interval_by_groups_of_too_few_rows_is_refused():
    few, many = GroupedMoments(draw(4, 2, 68)), GroupedMoments(draw(40, 3, 69))
    with pytest.raises(DataError, match="2 dimensions"):
        frechet_interval(few, many)
    with pytest.raises(OptionError, match="1 draws"):
        frechet_interval(few, few, draws=1)
    assert math.isfinite(frechet_interval(few, few).high)


def test_halves_that_give_no_interval_are_refused():
    rows = draw(5, 1, 60)
    with pytest.raises(OptionError, match="1 draws"):
        half_sample_interval(lambda each: 0.0, rows, draws=1)
    with pytest.raises(OptionError, match="level 1"):
        half_sample_interval(lambda each: 0.0, rows, level=1)
    with pytest.raises(DataError, match="features are of 3 images .4 or more"):
        half_sample_interval(lambda each: 0.0, rows[:3])
    with pytest.raises(DataError, match="a statistic is not finite"):
        half_sample_interval(lambda each: math.nan, rows, draws=2)


@pytest.mark.parametrize(("reals", "fakes", "dimensions"), [(30, 20, 64), (200, 150, 16), (10, 300, 40)])
def test_from_features_the_frechet_distance_is_the_same(reals, fakes, dimensions):
    pair = draw(reals, dimensions, 1), draw(fakes, dimensions, 2, shift=0.3)
    assert frechet_of_few(*pair) == pytest.approx(frechet(*pair), rel=1e-8)
    assert frechet_of_few(pair[0], pair[0]) == pytest.approx(0, abs=1e-9)
    with pytest.raises(DataError, match="real features have 64 dimensions, generated ones 16"):
        frechet_of_few(draw(4, 64, 1), draw(4, 16, 1))


def test_an_interval_is_cut_where_no_value_can_lie():
    found = spread_interval(0.9, [0.5, 1.3, 0.9])
    assert (found.low, found.high) == (pytest.approx(0.9 - 4.302653 * 0.4), pytest.approx(0.9 + 4.302653 * 0.4))
    cut = found.within(0, 1)
    assert (cut.value, cut.low, cut.high) == (0.9, 0, 1)
    assert found.within(-10) == found
