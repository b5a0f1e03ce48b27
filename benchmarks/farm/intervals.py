"""Values of runs at equal draws, and intervals over seeds and charts: both are drawn, so both are resampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from duel.statistics import Interval

RESAMPLES = 2000
Array = npt.NDArray[np.float64]
ByStratum = Mapping[str, Sequence[float]]  # one value per chart


def at_draws(measured: Sequence[Mapping[str, Any]], draws: float, value: Callable[[Any], Array]) -> Array:
    """Return a value after so many draws, linear between evaluations; the last one where fewer were ever paid."""
    for before, after in pairwise(measured):
        if before["draws"] <= draws <= after["draws"]:
            share = (draws - before["draws"]) / max(1, after["draws"] - before["draws"])
            return value(before) * (1 - share) + share * value(after)
    return value(measured[-1])


def draws_until(
    seeds: Sequence[Sequence[Mapping[str, Any]]], level: float, value: Callable[[Any], float]
) -> int | None:
    """Return after how many draws the mean over seeds, at equal draws, first reaches a level; None: never."""
    most = int(max(rows[-1]["draws"] for rows in seeds))
    draws = np.arange(0, most + 1, 10)
    curves = [np.interp(draws, [row["draws"] for row in rows], [value(row) for row in rows]) for rows in seeds]
    reached = np.mean(curves, axis=0) >= level
    return int(draws[reached.argmax()]) if reached.any() else None


def paired_difference(one: Mapping[int, ByStratum], other: Mapping[int, ByStratum], strata: Sequence[str]) -> Interval:
    """Return the mean difference `one - other` over strata, seeds that both have, and charts, with its 95 % interval.

    Bootstrap percentiles: every resample draws seeds, and charts within each stratum; the same charts for all seeds,
    since all runs are measured on the same ones. Raises ValueError where the two have no seed in common.
    """
    seeds = sorted(set(one) & set(other))
    if not seeds:
        raise ValueError(f"got the seeds {sorted(one)} and {sorted(other)}, expected at least one in both")
    table = np.array([[np.subtract(one[seed][s], other[seed][s]) for s in strata] for seed in seeds])  # (S, K, charts)
    S, K, C = table.shape
    rng = np.random.default_rng(0)
    rows = np.arange(K)[:, None]
    means = [table[rng.integers(0, S, S)][:, rows, rng.integers(0, C, (K, C))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(table.mean()), float(low), float(high))
