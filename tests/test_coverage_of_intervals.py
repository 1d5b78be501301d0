"""A tiny version of `coverage_of_intervals`: intervals that covered too rarely once."""

import pytest
from coverage_of_intervals import count_false_bests, measure, sets_of, shares_of


@pytest.mark.parametrize(
    "case",
    [
        sets_of("fid-infinity", 4, 400, 200, shift=0.1),
        sets_of("prc", 4, 40, 30, scale=0.6),
        shares_of("conditional-accuracy", 0.003, 50),
    ],
    ids=lambda case: case.title,
)
def test_intervals_cover_and_have_a_width(case):
    for found in measure(case, 30):
        assert found.share >= 0.8, found
        assert found.empty == 0


def test_equal_generators_have_no_best():
    assert count_false_bests("fid-infinity", 15, dims=4, reals=400, fakes=200) == {"fid-infinity": 0}
