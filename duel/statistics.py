"""95 % confidence intervals of means and proportions, a paired sign-flip test, and the power of a paired comparison.

The unit of analysis is an image, a prompt or a question, never a single sample. `benchmarks/statistics.py` measures the
coverage of these intervals against alternatives; the choices here follow from that. Power is two-sided at the 5 %
level, by the normal approximation: n = ((z(0.975) + z(power)) sd / difference)^2, with the sd of per-unit differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, variance
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm, t

RESAMPLES = 5000  # of the bootstrap
SIGN_FLIPS = 9999  # random ones, where there are too many to enumerate
EXACT_UP_TO = 16  # non-zero differences whose 2^16 sign flips are all enumerated
MIN_RELATIVE_ERROR = 0.25  # lower bound of a resample's standard error, relative to the sample's
MIN_BOOTSTRAP = 10  # values; resamples of fewer often repeat one value, which has no standard error
POWER = 0.8
MIN_UNITS = 6  # with fewer, a sign-flip test cannot reach p < 0.05: 2 / 2^5 is 0.06

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"

    @property
    def bounded(self) -> bool:
        """Whether both bounds are finite; those of a single value are not."""
        return math.isfinite(self.high - self.low)

    def within(self, least: float, most: float) -> Interval:
        """Return the interval clipped to the possible values [least, most]."""
        return Interval(self.mean, max(self.low, least), min(self.high, most))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of similarities, rewards or differences with its 95 % interval.

    Each bound is the wider of Student's t interval, right for symmetric data, and the studentised bootstrap's (Efron
    1981), right for skewed data. Fewer than ten values use Student's t alone, one value has infinite bounds, equal
    values have an interval of zero width. The bootstrap is seeded, so that equal values give equal intervals.
    Raises ValueError for no values.
    """
    sample = _sample(values)
    mean, n = float(sample.mean()), len(sample)
    if n == 1:
        return Interval(mean, -math.inf, math.inf)
    if _equal(sample):
        return Interval(mean, mean, mean)
    student = float(t.ppf(0.975, n - 1))
    low, high = -student, student
    if n >= MIN_BOOTSTRAP:
        found = _studentised_quantiles(sample)
        low, high = min(low, found[0]), max(high, found[1])
    error = _standard_error(sample)
    return Interval(mean, mean - high * error, mean - low * error)


def proportion_interval(values: Sequence[float]) -> Interval:
    """Return the mean of values in [0, 1], such as pass@1 per question, with its 95 % interval.

    Clopper and Pearson's exact interval at the effective number of units, n* = n m (1 - m) / variance, reduced for
    the variance being estimated and at least n (Korn and Graubard 1998). With one sample per question, or if all
    values are 0 or all are 1, this is the exact binomial interval. Raises ValueError for a value outside [0, 1], and
    for no values.
    """
    sample = _sample(values)
    if sample.min() < 0 or sample.max() > 1:
        raise ValueError(f"got values from {sample.min()} to {sample.max()}, expected values in [0, 1]")
    n, mean = len(sample), float(sample.mean())
    effective = float(n)
    if n > 1 and not _equal(sample):
        student = norm.ppf(0.975) / t.ppf(0.975, n - 1)
        effective = max(n, student**2 * mean * (1 - mean) / _standard_error(sample) ** 2)
    right, wrong = mean * effective, (1 - mean) * effective
    low = float(beta.ppf(0.025, right, wrong + 1)) if right > 0 else 0.0
    high = float(beta.ppf(0.975, right + 1, wrong)) if wrong > 0 else 1.0
    return Interval(mean, low, high)


def paired_interval(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Return the mean per-unit difference `after - before` with its 95 % interval.

    Raises ValueError when the two have different numbers of units, or none.
    """
    return mean_interval(paired_differences(before, after).tolist())


def paired_differences(before: Sequence[float], after: Sequence[float]) -> Array:
    """Return the per-unit differences `after - before`; those below rounding error are set to exactly 0."""
    if len(before) != len(after):
        raise ValueError(f"got {len(before)} values before and {len(after)} after, expected the same units twice")
    differences = _sample(after) - _sample(before)
    differences[np.abs(differences) < 1e-12] = 0.0
    return differences


def sign_flip_p(differences: Sequence[float] | Array) -> float:
    """Return the two-sided p-value of a paired sign-flip test: P(|sum with random signs| >= |observed sum|).

    All sign flips are enumerated for up to 16 non-zero differences; beyond that, p is (b + 1) / (m + 1) over
    m = 9,999 seeded random ones (Phipson and Smyth 2010). If all differences are 0, p is 1.
    """
    moved = np.asarray(differences, dtype=float)
    moved = moved[moved != 0]
    n = len(moved)
    if n == 0:
        return 1.0
    if n <= EXACT_UP_TO:
        flipped: npt.NDArray[Any] = (np.arange(2**n)[:, None] >> np.arange(n)) & 1  # (2^n, n)
        return float(_as_far(flipped, moved).mean())
    drawn = np.random.default_rng(0).integers(256, size=(SIGN_FLIPS, -(-n // 8)), dtype=np.uint8)
    flipped = np.unpackbits(drawn, axis=1, count=n)
    return (int(_as_far(flipped, moved).sum()) + 1) / (SIGN_FLIPS + 1)


def _as_far(flipped: npt.NDArray[Any], moved: Array) -> npt.NDArray[np.bool_]:
    """Return which sign flips (ways, n) give a sum at least as extreme as the observed one, (ways,)."""
    total = float(moved.sum())
    # Sums of equal numbers in another order differ by rounding; count them as ties.
    least = abs(total) - 1e-9 * float(np.abs(moved).sum())
    reached: npt.NDArray[np.bool_] = np.abs(total - 2 * (flipped.astype(float) @ moved)) >= least
    return reached


def _studentised_quantiles(sample: Array) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % bootstrap quantiles of (mean - true mean) / standard error."""
    n = len(sample)
    centred = sample - sample.mean()
    counts = _resample_counts(n).astype(float)  # (RESAMPLES, n)
    means = counts @ centred / n
    errors = np.sqrt(np.maximum(counts @ centred**2 / n - means**2, 0) / (n - 1))
    # A resample without the one outlier has almost no standard error, and dividing by it would give a huge interval.
    errors = np.maximum(errors, MIN_RELATIVE_ERROR * _standard_error(sample))
    low, high = np.quantile(means / errors, [0.025, 0.975])
    return float(low), float(high)


@lru_cache(maxsize=16)
def _resample_counts(n: int) -> npt.NDArray[np.uint8]:
    """Return how often each of n units occurs in each resample, (RESAMPLES, n)."""
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n)) + n * np.arange(RESAMPLES)[:, None]
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n).astype(np.uint8)


def _sample(values: Sequence[float] | Array) -> Array:
    if len(values) == 0:
        raise ValueError("got no values, expected at least one")
    return np.array(values, dtype=float)


def _standard_error(sample: Array) -> float:
    return float(sample.std(ddof=1)) / math.sqrt(len(sample))


def _equal(sample: Array) -> bool:
    return float(np.ptp(sample)) <= 1e-12 * max(1.0, abs(float(sample[0])))


def units_needed(deviation: float, difference: float, power: float = POWER) -> int:
    """Return the number of units that show `difference` with probability `power`; at least 6.

    `deviation` is the standard deviation of the per-unit differences. Raises ValueError unless difference > 0 and
    0 < power < 1.
    """
    if difference <= 0 or not 0 < power < 1:
        raise ValueError(f"got a difference of {difference} and a power of {power}, expected > 0 and between 0 and 1")
    return max(MIN_UNITS, math.ceil((_quantile_sum(power) * deviation / difference) ** 2 - 1e-9))


def detectable(deviation: float, units: int, power: float = POWER) -> float:
    """Return the difference that `units` units show with probability `power`."""
    return _quantile_sum(power) * deviation / math.sqrt(units)


def sampling_deviation(scores: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation, over questions, of the difference between two evaluations of the same model.

    sqrt(2 mean(s_q^2 / k_q)): the sampling noise of k answers per question (s_q^2 with divisor k - 1). Two different
    models have at least this deviation, since their questions do not all change alike. With one answer per question,
    s^2 is m (1 - m) over all questions, an upper bound. Raises ValueError when there are no scores.
    """
    kept = [row for row in scores if row]
    if not kept:
        raise ValueError("got no scores, expected those of at least one question")
    repeated = [variance(row) / len(row) for row in kept if len(row) > 1]
    if repeated:
        return math.sqrt(2 * fmean(repeated))
    mean = fmean(row[0] for row in kept)
    return math.sqrt(2 * mean * (1 - mean))


def _quantile_sum(power: float) -> float:
    return float(norm.ppf(0.975) + norm.ppf(power))
