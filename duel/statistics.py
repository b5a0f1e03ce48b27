"""How surely a number is known: intervals and a test in which the image, the prompt or the question is the unit.

Which interval serves for what was measured, not assumed: `benchmarks/statistics.py` compares the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm, t

RESAMPLES = 5000
SIGN_FLIPS = 9999  # at random, where there are too many to try all
ENUMERATED = 16  # differences other than 0 whose signs are all tried, 2^16 ways
LEAST_ERROR = 0.25  # of a resample, in standard errors of the sample
FEW = 10  # values; resamples of fewer often hold one value alone, which has no standard error

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"

    def within(self, least: float, most: float) -> Interval:
        """Return the interval cut to what is possible."""
        return Interval(self.mean, max(self.low, least), min(self.high, most))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of similarities, rewards or differences with its interval.

    At each end the wider of Student's interval, right for what is symmetric, and the studentised bootstrap's (Efron
    1981), right for what is skewed. Fewer than ten values have Student's alone, one value says nothing about the mean
    (infinite bounds), equal values have an interval of no width. The resampling is seeded: equal values, equal
    interval. Raises ValueError when there are none.
    """
    sample = _sample(values)
    mean, n = float(sample.mean()), len(sample)
    if n == 1:
        return Interval(mean, -math.inf, math.inf)
    if _equal(sample):
        return Interval(mean, mean, mean)
    student = float(t.ppf(0.975, n - 1))
    low, high = -student, student
    if n >= FEW:
        found = _studentised_quantiles(sample)
        low, high = min(low, found[0]), max(high, found[1])
    error = _standard_error(sample)
    return Interval(mean, mean - high * error, mean - low * error)


def proportion_interval(values: Sequence[float]) -> Interval:
    """Return the mean of values in [0, 1], such as pass@1 of each question, with its interval.

    Clopper and Pearson's exact interval at the effective number of units, n* = n m (1 - m) / variance, lowered for
    the variance being estimated and never below n (Korn and Graubard 1998). With one sample a question this
    is the exact binomial interval; when all values are 0, or all are 1, too. Raises ValueError for a value outside
    [0, 1], and when there are none.
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
    """Return the mean of `after - before`, unit by unit, with its interval.

    Raises ValueError when the two are not the same number of units, or none.
    """
    return mean_interval(paired_differences(before, after).tolist())


def paired_differences(before: Sequence[float], after: Sequence[float]) -> Array:
    """Return `after - before`, unit by unit; what differs by rounding alone differs by exactly 0."""
    if len(before) != len(after):
        raise ValueError(f"got {len(before)} values before and {len(after)} after, expected the same units twice")
    differences = _sample(after) - _sample(before)
    differences[np.abs(differences) < 1e-12] = 0.0
    return differences


def sign_flip_p(differences: Sequence[float] | Array) -> float:
    """Return the two-sided p-value of no difference: how often random signs give a sum as far from 0.

    All signs are tried where few differences are not 0; else 9,999 random ones count with the observed
    (b + 1) / (m + 1) (Phipson and Smyth 2010), seeded. No difference at all has p = 1.
    """
    moved = np.asarray(differences, dtype=float)
    moved = moved[moved != 0]
    n = len(moved)
    if n == 0:
        return 1.0
    if n <= ENUMERATED:
        flipped: npt.NDArray[Any] = (np.arange(2**n)[:, None] >> np.arange(n)) & 1  # (2^n, n)
        return float(_as_far(flipped, moved).mean())
    drawn = np.random.default_rng(0).integers(256, size=(SIGN_FLIPS, -(-n // 8)), dtype=np.uint8)
    flipped = np.unpackbits(drawn, axis=1, count=n)
    return (int(_as_far(flipped, moved).sum()) + 1) / (SIGN_FLIPS + 1)


def _as_far(flipped: npt.NDArray[Any], moved: Array) -> npt.NDArray[np.bool_]:
    """Return which sign flips (ways, n) give a sum at least as far from 0 as the observed one, (ways,)."""
    total = float(moved.sum())
    # Sums of the same numbers in another order differ by rounding; those are ties.
    least = abs(total) - 1e-9 * float(np.abs(moved).sum())
    reached: npt.NDArray[np.bool_] = np.abs(total - 2 * (flipped.astype(float) @ moved)) >= least
    return reached


def _studentised_quantiles(sample: Array) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of (mean - true mean) / standard error, over resamples."""
    n = len(sample)
    centred = sample - sample.mean()
    counts = _resample_counts(n).astype(float)  # (RESAMPLES, n)
    means = counts @ centred / n
    errors = np.sqrt(np.maximum(counts @ centred**2 / n - means**2, 0) / (n - 1))
    # A resample without the one outlier has next to no error, and dividing by that would say that nothing is known.
    errors = np.maximum(errors, LEAST_ERROR * _standard_error(sample))
    low, high = np.quantile(means / errors, [0.025, 0.975])
    return float(low), float(high)


@lru_cache(maxsize=16)
def _resample_counts(n: int) -> npt.NDArray[np.uint8]:
    """Return how often each of n units is drawn in each resample, (RESAMPLES, n)."""
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
