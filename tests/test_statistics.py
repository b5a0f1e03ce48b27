import numpy as np
import pytest

from duel.statistics import mean_interval, paired_interval


def test_the_interval_holds_the_mean():
    interval = mean_interval([0.1, 0.4, 0.2, 0.9, 0.5])
    assert interval.mean == pytest.approx(0.42)
    assert interval.low < 0.42 < interval.high


def test_equal_values_have_an_interval_of_no_width():
    interval = mean_interval([0.5, 0.5, 0.5])
    assert (interval.low, interval.high) == (0.5, 0.5)


def test_equal_values_give_equal_intervals_each_time():
    values = list(np.random.default_rng(1).random(25))
    assert mean_interval(values) == mean_interval(values)


def test_pairing_removes_what_the_units_share():
    before = [0.1, 0.5, 0.9, 0.3]
    interval = paired_interval(before, [value + 0.2 for value in before])
    assert interval.mean == pytest.approx(0.2)
    assert interval.high - interval.low < 1e-9


def test_unequal_numbers_of_units_are_refused():
    with pytest.raises(ValueError, match="got 2 values before and 3 after"):
        paired_interval([1, 2], [1, 2, 3])


def test_about_95_of_100_intervals_cover_the_true_mean():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        interval = mean_interval(rng.normal(0.0, 1.0, 25).tolist())
        covered += interval.low <= 0.0 <= interval.high
    assert 88 <= covered <= 99
