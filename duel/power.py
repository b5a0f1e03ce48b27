"""Power analysis of a paired comparison: units needed to show a difference, difference detectable with given units.

Two-sided at the 5 % level, by the normal approximation: n = ((z(0.975) + z(power)) sd / difference)^2, where sd is the
standard deviation of the per-unit differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

from scipy.stats import norm

POWER = 0.8
MIN_UNITS = 6  # with fewer, a sign-flip test cannot reach p < 0.05: 2 / 2^5 is 0.06


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
