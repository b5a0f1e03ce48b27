"""How many units would show a difference, and what difference so many units can show.

For a paired comparison at the 5 % level, two-sided, by the normal approximation:
n = ((z(0.975) + z(power)) sd / difference)^2, sd being that of the differences, unit by unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

from scipy.stats import norm

POWER = 0.8
LEAST = 6  # fewer differences cannot reach p < 0.05 by flipping signs: 2 / 2^5 is 0.06


def units_needed(deviation: float, difference: float, power: float = POWER) -> int:
    """Return how many units show `difference` with probability `power`, at least 6.

    `deviation` is the standard deviation of the differences over units. Raises ValueError when the difference
    is not above 0 or the power not between 0 and 1.
    """
    if difference <= 0 or not 0 < power < 1:
        raise ValueError(f"got a difference of {difference} and a power of {power}, expected > 0 and between 0 and 1")
    return max(LEAST, math.ceil((_reach(power) * deviation / difference) ** 2 - 1e-9))


def detectable(deviation: float, units: int, power: float = POWER) -> float:
    """Return the difference that so many units show with probability `power`."""
    return _reach(power) * deviation / math.sqrt(units)


def sampling_deviation(scores: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation, over questions, of the difference between two samplings of the same model.

    sqrt(2 mean(s_q^2 / k_q)): nothing but chance in sampling k answers a question (s_q^2 with divisor k - 1). Two
    models that differ have at least that, since their questions do not all change alike. Where every question
    has one answer, s^2 is m (1 - m) of all questions, an upper bound. Raises ValueError when there are no scores.
    """
    kept = [row for row in scores if row]
    if not kept:
        raise ValueError("got no scores, expected those of at least one question")
    repeated = [variance(row) / len(row) for row in kept if len(row) > 1]
    if repeated:
        return math.sqrt(2 * fmean(repeated))
    mean = fmean(row[0] for row in kept)
    return math.sqrt(2 * mean * (1 - mean))


def _reach(power: float) -> float:
    return float(norm.ppf(0.975) + norm.ppf(power))
