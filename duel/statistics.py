"""How surely a mean is known: bootstrap intervals in which the image or the question is the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of `values` with its bias-corrected accelerated bootstrap interval (Efron 1987).

    Values that are all equal have an interval of no width. The resampling is seeded: equal values give an
    equal interval.
    """
    sample = np.asarray(values, dtype=float)
    mean = float(sample.mean())
    if np.ptp(sample) <= 1e-12 * max(1.0, abs(mean)):  # equal up to rounding: BCa would divide by zero
        return Interval(mean, mean, mean)
    found = bootstrap(
        (sample,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0), batch=1000
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def paired_interval(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Return the mean of `after - before`, unit by unit, with its interval."""
    if len(before) != len(after):
        raise ValueError(f"got {len(before)} values before and {len(after)} after, expected the same units twice")
    return mean_interval([b - a for a, b in zip(before, after, strict=True)])
