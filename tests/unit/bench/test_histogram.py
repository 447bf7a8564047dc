"""HdrHistogram's layout."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompile_bench.kit.histogram import Histogram, bounds, bucket


@given(st.integers(0, 10**12))
def test_a_value_lies_in_its_bucket_and_is_kept_to_under_one_percent(value: int):
    low, high = bounds(bucket(value))
    assert low <= value < high
    assert high - low <= max(1, value / 128)


@given(st.integers(0, 5000))
def test_buckets_lie_end_to_end(index: int):
    assert bounds(index)[1] == bounds(index + 1)[0]
    assert bucket(bounds(index)[0]) == index


def test_quantiles_are_those_of_the_values():
    generator = random.Random(2)
    values = sorted(int(generator.lognormvariate(10, 0.5)) for _ in range(20_000))
    histogram = Histogram((bucket(value), 1) for value in values)
    for q in (0.01, 0.5, 0.99, 0.999):
        assert histogram.quantile(q) == pytest.approx(values[int(q * len(values))], rel=0.01)
    curve = histogram.curve()
    assert curve[-1][1] == 1
    assert [share for _, share in curve] == sorted(share for _, share in curve)


def test_packed_and_back():
    histogram = Histogram([[3, 2], [900, 1], [17, 4]])
    again = Histogram()
    again.add_packed(histogram.packed())
    assert again.pairs() == histogram.pairs() == [[3, 2], [17, 4], [900, 1]]


def test_an_empty_one_has_no_quantiles():
    with pytest.raises(ValueError, match="empty"):
        Histogram().quantile(0.5)
