"""Coverage of confidence intervals and level of the test, on simulated evaluations: alternatives and Duel's choices.

A question's difficulty is drawn from a Beta distribution, U-shaped or skewed as in real benchmarks; each checkpoint
answers it several times. Run: python -m benchmarks.statistics
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import scipy
from scipy import stats

from duel.statistics import Interval, mean_interval, paired_interval, proportion_interval, sign_flip_p, units_needed

Array = npt.NDArray[np.float64]
BETAS = [(0.3, 0.7), (0.2, 0.8), (0.15, 0.85)]
HARDER = [(8.0, 0.4, 10, 25), (0.05, 0.95, 10, 25), (0.3, 0.7, 1, 25), (0.3, 0.7, 10, 10), (3.0, 3.0, 10, 25)]
RESAMPLES = 2000
SPREAD = 1.0  # of the per-question change on the logit scale, relative to the mean change


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=2000, help="simulated evaluations per cell")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    versions = f"numpy {np.__version__}, scipy {scipy.__version__}"
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, {versions}")
    print(f"command: python -m benchmarks.statistics --evaluations {options.evaluations} --seed {options.seed}\n")
    rng = np.random.default_rng(options.seed)
    print_single(rng, options.evaluations)
    print_similarities(rng, options.evaluations)
    print_paired(rng, options.evaluations, 0.0)
    print_paired(rng, options.evaluations, 0.05)
    print_power(rng, options.evaluations)
    print(f"{time.perf_counter() - start:.0f} s")


def print_single(rng: np.random.Generator, evaluations: int) -> None:
    """Print, for pass@1 of one evaluation, each 95 % interval's coverage in per cent and mean width."""
    print("pass@1 of one evaluation: coverage of the 95 % interval in per cent / mean width")
    names = ["percentile", "BCa", "studentised", "Student"]
    print("Beta, answers, questions".ljust(32) + "".join(name.ljust(14) for name in [*names, "Duel's own"]))
    cells = [(a, b, 10, n) for a, b in BETAS for n in (25, 100)] + HARDER
    for a, b, answers, n in cells:
        values = rng.binomial(answers, rng.beta(a, b, (evaluations, n))) / answers
        found = [*candidates(values, rng), own(values, proportion_interval)]
        print(f"({a}, {b}), {answers}, {n}".ljust(32) + cover(found, a / (a + b)), flush=True)
    print()


def print_similarities(rng: np.random.Generator, evaluations: int) -> None:
    """Print the same for held-out similarity, simulated as 1 minus a skewed Beta variable."""
    print("mean similarity, 1 - Beta: coverage in per cent / mean width")
    names = ["percentile", "BCa", "studentised", "Student"]
    print("Beta, images".ljust(32) + "".join(name.ljust(14) for name in [*names, "Duel's own"]))
    for a, b in [(0.6, 4.0), (1.2, 8.0), (2.0, 5.0)]:
        for n in (16, 25, 100):
            values = 1 - rng.beta(a, b, (evaluations, n))
            found = [*candidates(values, rng), own(values, mean_interval)]
            print(f"({a}, {b}), {n}".ljust(32) + cover(found, 1 - a / (a + b)), flush=True)
    print()


def print_paired(rng: np.random.Generator, evaluations: int, difference: float) -> None:
    """Print coverage and the test's rejection rate for two evaluations of the same questions."""
    what = f"a true difference of {difference}" if difference else "no difference"
    print(f"two evaluations of the same questions, {what}: coverage / mean width; p <= 0.05 in per cent of evaluations")
    names = ["percentile", "BCa", "studentised", "Student"]
    heads = [*names, "Duel's own", "sign flips", "sd"]
    print("Beta, answers, questions".ljust(32) + "".join(name.ljust(14) for name in heads))
    for a, b in BETAS:
        shift = logit_shift(a, b, difference)
        for n in (25, 100):
            before, after = pairs(rng, a, b, shift, (evaluations, n))
            differences = after - before
            ours = own_pairs(before, after)
            found = np.mean([sign_flip_p(row) <= 0.05 for row in differences])
            spread = differences.std(axis=1, ddof=1).mean()
            line = cover([*candidates(differences, rng), ours], difference)
            print(f"({a}, {b}), 10, {n}".ljust(32) + f"{line}{100 * found:<14.1f}{spread:.3f}", flush=True)
    print()


def print_power(rng: np.random.Generator, evaluations: int) -> None:
    """Print how often a difference is found with the number of questions that `units_needed` returns."""
    print("as many questions as Duel says: p <= 0.05 in per cent of evaluations, 80 wanted")
    for a, b in BETAS:
        for difference in (0.05, 0.1):
            shift = logit_shift(a, b, difference)
            before, after = pairs(rng, a, b, shift, (1, 100_000))
            n = units_needed(float((after - before).std()), difference)
            before, after = pairs(rng, a, b, shift, (evaluations, n))
            found = np.mean([sign_flip_p(row) <= 0.05 for row in after - before])
            print(f"({a}, {b}), difference {difference}: {n} questions, found in {100 * found:.1f}", flush=True)
    print()


def pairs(
    rng: np.random.Generator, a: float, b: float, shift: float, shape: tuple[int, int], answers: int = 10
) -> tuple[Array, Array]:
    """Return two evaluations, (evaluations, questions) each, of the same questions with per-question changes."""
    difficulty = rng.beta(a, b, shape)
    changed = shifted(difficulty, shift, rng.normal(size=shape))
    return rng.binomial(answers, difficulty) / answers, rng.binomial(answers, changed) / answers


def shifted(difficulty: Array, shift: float, noise: Array) -> Array:
    """Return the difficulties shifted on the logit scale, by `shift` on average."""
    if shift == 0:
        return difficulty
    odds = np.log(np.clip(difficulty, 1e-12, 1)) - np.log(np.clip(1 - difficulty, 1e-12, 1))
    return np.asarray(1 / (1 + np.exp(-(odds + shift * (1 + SPREAD * noise)))))


def logit_shift(a: float, b: float, difference: float, questions: int = 1_000_000) -> float:
    """Return the logit shift that raises pass@1 by `difference` on average, by bisection over `questions` questions."""
    if difference == 0:
        return 0.0
    rng = np.random.default_rng(1)
    difficulty, noise = rng.beta(a, b, questions), rng.normal(size=questions)
    low, high = 0.0, 5.0
    for _ in range(30):
        middle = (low + high) / 2
        rises = float((shifted(difficulty, middle, noise) - difficulty).mean()) < difference
        low, high = (middle, high) if rises else (low, middle)
    return (low + high) / 2


def candidates(values: Array, rng: np.random.Generator) -> list[tuple[Array, Array]]:
    """Return (low, high), (evaluations,) each, of percentile, BCa, studentised bootstrap and Student's t interval.

    All evaluations share their resamples, so that thousands of bootstraps are a few matrix products.
    """
    n = values.shape[1]
    mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(n)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)  # (RESAMPLES, n)
    means = values @ counts.T / n  # (evaluations, RESAMPLES)
    errors = np.sqrt(np.maximum(values**2 @ counts.T / n - means**2, 0) / (n - 1))
    half = stats.t.ppf(0.975, n - 1) * error
    percentile = np.quantile(means, [0.025, 0.975], axis=1)
    return [
        (percentile[0], percentile[1]),
        bca(values, means),
        studentised(mean, error, means, errors),
        (mean - half, mean + half),
    ]


def bca(values: Array, means: Array) -> tuple[Array, Array]:
    """Return Efron's bias-corrected and accelerated (BCa) interval."""
    mean = values.mean(axis=1)
    below = (means < mean[:, None] - 1e-12).mean(axis=1)
    ties = (np.abs(means - mean[:, None]) <= 1e-12).mean(axis=1)
    bias = stats.norm.ppf(np.clip(below + ties / 2, 1e-4, 1 - 1e-4))
    from_mean = values - mean[:, None]
    acceleration = (from_mean**3).sum(axis=1) / (6 * (from_mean**2).sum(axis=1) ** 1.5 + 1e-12)
    ordered = np.sort(means, axis=1)
    bounds = []
    for z in stats.norm.ppf([0.025, 0.975]):
        share = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        place = np.clip((share * means.shape[1]).astype(int), 0, means.shape[1] - 1)
        bounds.append(ordered[np.arange(len(ordered)), place])
    return bounds[0], bounds[1]


def studentised(mean: Array, error: Array, means: Array, errors: Array) -> tuple[Array, Array]:
    """Return the studentised bootstrap interval; a resample without variance counts as infinitely far off."""
    away = means - mean[:, None]
    far = np.where(np.abs(away) < 1e-12, 0.0, np.sign(away) * 1e6)
    ratios = np.where(errors > 1e-9, away / np.maximum(errors, 1e-9), far)
    low, high = np.quantile(ratios, [0.025, 0.975], axis=1)
    return np.maximum(mean - high * error, -1), np.minimum(mean - low * error, 1)


def own(values: Array, interval: Callable[[Sequence[float]], Interval]) -> tuple[Array, Array]:
    """Return Duel's interval of each evaluation, as (low, high)."""
    found = [interval(row.tolist()) for row in values]
    return np.array([i.low for i in found]), np.array([i.high for i in found])


def own_pairs(before: Array, after: Array) -> tuple[Array, Array]:
    """Return Duel's interval of each pair of evaluations, as (low, high)."""
    found = [paired_interval(*rows) for rows in zip(before.tolist(), after.tolist(), strict=True)]
    return np.array([i.low for i in found]), np.array([i.high for i in found])


def cover(found: Sequence[tuple[Array, Array]], truth: float) -> str:
    """Format each interval's coverage and mean width."""
    cells = [
        f"{100 * np.mean((low <= truth + 1e-12) & (truth <= high + 1e-12)):.1f} / {np.mean(high - low):.3f}"
        for low, high in found
    ]
    return "".join(cell.ljust(14) for cell in cells)


if __name__ == "__main__":
    main()
