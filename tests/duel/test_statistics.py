import math
import statistics

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import BETAS, cover, logit_shift, own, pairs
from duel.statistics import (
    detectable,
    mean_interval,
    paired_differences,
    paired_interval,
    proportion_interval,
    sampling_deviation,
    sign_flip_p,
    units_needed,
)


def ends(interval):
    return interval.low, interval.high


def test_the_interval_holds_the_mean():
    interval = mean_interval([0.1, 0.4, 0.2, 0.9, 0.5])
    assert interval.mean == pytest.approx(0.42)
    assert interval.low < 0.42 < interval.high


def test_equal_values_have_an_interval_of_zero_width():
    assert ends(mean_interval([0.5, 0.5, 0.5])) == (0.5, 0.5)


def test_one_value_has_infinite_bounds():
    assert ends(mean_interval([0.7])) == (-math.inf, math.inf)
    assert ends(mean_interval([0.7]).within(-1, 1)) == (-1, 1)


def test_equal_values_give_equal_intervals_each_time():
    values = list(np.random.default_rng(1).random(25))
    assert mean_interval(values) == mean_interval(values)


def test_few_values_have_students_interval():
    values = [0.1, 0.4, 0.2, 0.9, 0.5]
    expected = stats.ttest_1samp(values, 0.0).confidence_interval()
    assert ends(mean_interval(values)) == pytest.approx((expected.low, expected.high))


def test_each_end_is_the_wider_of_students_and_that_of_scipys_studentised_resamples():
    values = 1 - np.random.default_rng(2).beta(1.2, 8.0, 40)
    error = values.std(ddof=1) / math.sqrt(40)

    def ratio(sample, axis):
        return (sample.mean(axis=axis) - values.mean()) / (sample.std(axis=axis, ddof=1) / math.sqrt(40))

    resampled = stats.bootstrap((values,), ratio, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    student = stats.ttest_1samp(values, 0.0).confidence_interval()
    low, high = values.mean() - resampled.high * error, values.mean() - resampled.low * error
    assert low < student.low - 0.005  # skewed to the left: the bootstrap reaches further down
    assert high < student.high
    assert ends(mean_interval(values.tolist())) == pytest.approx((low, student.high), abs=0.003)


@pytest.mark.parametrize(("right", "of"), [(0, 25), (1, 25), (8, 25), (25, 25), (3, 10), (1, 1)])
def test_one_answer_a_question_has_the_exact_binomial_interval(right, of):
    expected = stats.binomtest(right, of).proportion_ci(method="exact")
    assert ends(proportion_interval([1.0] * right + [0.0] * (of - right))) == pytest.approx(tuple(expected))


def test_all_questions_right_still_has_a_lower_bound_below_1():
    # 0.975 of the time, 25 of 25 would not be seen if pass@1 were 0.025^(1/25).
    assert ends(proportion_interval([1.0] * 25)) == pytest.approx((0.025 ** (1 / 25), 1.0))


def test_repeated_answers_count_for_more_than_one_and_the_question_stays_the_unit():
    values = [0.2, 0.4, 0.6, 0.8] * 10  # mean 0.5, variance 0.05
    effective = 0.5 * 0.5 / (statistics.variance(values) / 40) * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 39)) ** 2
    assert 40 < effective < 400
    low, high = stats.beta.ppf(
        [0.025, 0.975], [0.5 * effective, 0.5 * effective + 1], [effective / 2 + 1, effective / 2]
    )
    assert ends(proportion_interval(values)) == pytest.approx((low, high))


def test_a_proportion_outside_0_and_1_is_an_error():
    with pytest.raises(ValueError, match="expected values in"):
        proportion_interval([0.5, 1.2])


def test_pairing_removes_what_the_units_share():
    before = [0.1, 0.5, 0.9, 0.3]
    interval = paired_interval(before, [value + 0.2 for value in before])
    assert interval.mean == pytest.approx(0.2)
    assert interval.high - interval.low < 1e-9


def test_the_paired_interval_is_at_least_students():
    rng = np.random.default_rng(5)
    before, after = rng.random(30), rng.random(30)
    expected = stats.ttest_rel(after, before).confidence_interval()
    low, high = ends(paired_interval(before.tolist(), after.tolist()))
    assert low <= expected.low + 1e-12
    assert high >= expected.high - 1e-12
    assert high - low == pytest.approx(expected.high - expected.low, rel=0.1)


def test_one_difference_among_many_zeros_keeps_the_interval_finite():
    interval = mean_interval([0.2] + [0.0] * 73)
    assert -0.01 < interval.low < 0 < interval.high < 0.03


def test_one_outlier_among_perfect_reconstructions_keeps_the_interval_finite():
    # The standard error is 0.3 / 25 = 0.012, and 36 % of resamples lack the outlier: the lower end is 4 of them away.
    interval = mean_interval([0.7] + [1 - 1e-5 * place for place in range(24)])
    assert interval.mean - interval.low == pytest.approx(4 * 0.012, rel=0.1)


def test_unequal_numbers_of_units_are_an_error():
    with pytest.raises(ValueError, match="got 2 values before and 3 after"):
        paired_interval([1, 2], [1, 2, 3])


def test_no_values_are_an_error():
    with pytest.raises(ValueError, match="got no values"):
        mean_interval([])


def test_equal_evaluations_differ_by_exactly_0():
    values = np.random.default_rng(6).random(50).tolist()
    interval = paired_interval(values, values)
    assert (interval.mean, interval.low, interval.high) == (0, 0, 0)
    assert sign_flip_p(paired_differences(values, values)) == 1


def test_few_differences_enumerate_all_sign_flips():
    # 1 + 2 + 3 = 6 is reached by +++ and --- alone, of 8.
    assert sign_flip_p([1, 2, 3, 0, 0]) == pytest.approx(2 / 8)


def test_tied_sums_count_as_extreme():
    # 0.1 + 0.2 + 0.3 - 0.3: with one sign of 0.3 flipped the sum stays at least as far in 8 of 16 ways.
    assert sign_flip_p([0.1, 0.2, 0.3, -0.3]) == pytest.approx(
        np.mean(
            [abs(a + 2 * b + 3 * c + 3 * d) >= 3 for a in (-1, 1) for b in (-1, 1) for c in (-1, 1) for d in (-1, 1)]
        )
    )


@pytest.mark.parametrize("n", [9, 40])
def test_the_sign_flip_test_agrees_with_scipy(n):
    differences = np.random.default_rng(n).normal(0.25, 1, n)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    assert sign_flip_p(differences) == pytest.approx(expected.pvalue, abs=1e-9 if n == 9 else 0.02)


def test_a_monte_carlo_p_value_is_never_0():
    assert sign_flip_p([1.0] * 40) == pytest.approx(1 / 10_000)


def test_units_needed_agrees_with_the_textbook_formula():
    # ((1.95996 + 0.84162) * 0.3 / 0.05)^2 = 282.6
    assert units_needed(0.3, 0.05) == 283
    assert detectable(0.3, 283) == pytest.approx(0.05, abs=1e-4)


def test_fewer_units_than_can_reach_significance_are_never_enough():
    assert units_needed(0.01, 0.5) == 6


def test_power_for_a_difference_of_zero_is_an_error():
    with pytest.raises(ValueError, match="got a difference of 0"):
        units_needed(0.3, 0)


def test_sampling_deviation_is_measured_within_questions():
    # variances 1/3 and 0 of 4 answers each: sqrt(2 * mean(1/12, 0)) = sqrt(1/12)
    assert sampling_deviation([[0, 1, 0, 1], [1, 1, 1, 1]]) == pytest.approx(math.sqrt(1 / 12))


def test_sampling_deviation_with_one_answer_each_uses_all_questions():
    assert sampling_deviation([[1.0], [0.0], [0.0], [1.0]]) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("questions", [25, 100])
def test_the_interval_of_pass_at_1_covers_the_truth(beta, questions):
    # benchmarks/statistics.py at a scale that tests afford: 93 % with 400 evaluations has a standard error of 1.3 %.
    rng = np.random.default_rng(questions)
    values = rng.binomial(10, rng.beta(*beta, (400, questions))) / 10
    low, high = own(values, proportion_interval)
    truth = beta[0] / sum(beta)
    assert np.mean((low <= truth) & (truth <= high)) >= 0.93
    assert np.mean(high - low) < 1.15 * 2 * 1.96 * values.std(axis=1).mean() / math.sqrt(questions) + 0.03


@pytest.mark.parametrize("beta", BETAS)
def test_the_paired_test_keeps_its_level_and_power(beta):
    rng = np.random.default_rng(8)
    before, after = pairs(rng, *beta, 0.0, (400, 25))
    assert np.mean([sign_flip_p(row) <= 0.05 for row in after - before]) <= 0.055
    shift = logit_shift(*beta, 0.1, questions=100_000)
    before, after = pairs(rng, *beta, shift, (1, 50_000))
    enough = units_needed(float((after - before).std()), 0.1)
    before, after = pairs(rng, *beta, shift, (300, enough))
    found = np.mean([sign_flip_p(row) <= 0.05 for row in after - before])
    assert 0.72 <= found <= 0.9


def test_coverage_is_counted_with_its_width():
    low, high = np.array([0.0, 0.4]), np.array([0.5, 0.8])
    assert cover([(low, high)], 0.45).split() == ["100.0", "/", "0.450"]
    assert cover([(low, high)], 0.6).split() == ["50.0", "/", "0.450"]
