"""Duel against base-only training at an equal number of generated images: is the adversary worth its draws?

Trains the duel, then the arm without adversary until it has requested as many images (or a few more). Evaluates the
questions on both and prints the difference duel minus base-only: held-out similarity by image and pass@1 by question,
per seed and averaged over seeds. Existing runs are resumed, not repeated.
Run: python -m benchmarks.equal_draws --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from artifacts.evaluation.comparison import Comparison, compare_held_out, compare_runs, compare_units
from artifacts.evaluation.read import read_evaluations, read_proxies
from artifacts.evaluation.records import Unit
from artifacts.evaluation.selection import reported_checkpoint
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_metrics
from benchmarks.learning import ARMS, machine, settings_of, train_run
from duel.settings import Settings
from duel.state import StateDirectory

EVERY = 30  # rounds between evaluations; training does not depend on it


def main() -> None:
    """Train both arms with every seed, evaluate, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=60, help="rounds of the duel")
    parser.add_argument("--state", type=Path, default=Path("state"), help="where runs are kept and resumed")
    options = parser.parse_args()
    print(machine())
    print(f"command: python -m benchmarks.equal_draws {' '.join(sys.argv[1:])}\n", flush=True)
    pairs = []
    for seed in options.seeds:
        duel = train_run(f"equal-duel-{seed}", settings("duel", seed, options.rounds), options.state)
        alone = train_to_draws(seed, draws_asked(duel), options.state)
        for run in (duel, alone):
            ask(run, options.state)
            print(describe(run), flush=True)
        both = read_evaluations(duel), read_evaluations(alone)
        print_comparison(f"seed {seed}", compare_held_out(*both), compare_runs(*both))
        pairs.append((duel, alone))
    if len(pairs) > 1:
        print_pooled(pairs)


def settings(arm: str, seed: int, rounds: int) -> Settings:
    """Return the offline-reference profile for one arm."""
    return settings_of({**ARMS[arm], "seed": seed, "rounds": rounds, "evaluation.every": EVERY})


def train_to_draws(seed: int, draws: int, state: Path) -> RunDirectory:
    """Train the arm without adversary until it has requested `draws` images, or a few more.

    A round asks for fewer images as descriptions become alike, so that the number of rounds is found on the way: each
    step is as many rounds as would do if all asked for as much as the most of the last ten.
    """
    name = f"equal-alone-{seed}"
    arm = settings("base alone", seed, 1)
    asked: list[int] = []
    if RunDirectory.exists(StateDirectory(state), name):
        asked = draws_by_round(RunDirectory.read(StateDirectory(state), name))
    while sum(asked) < draws:
        most = max(asked[-10:], default=arm.images_per_round * arm.sampling.group_size)
        rounds = len(asked) + math.ceil((draws - sum(asked)) / most)
        asked = draws_by_round(train_run(name, settings("base alone", seed, rounds), state))
    return RunDirectory.read(StateDirectory(state), name)


def draws_asked(run: RunDirectory) -> int:
    """Return the number of images requested in a run's rounds, evaluations not counted."""
    return sum(draws_by_round(run))


def draws_by_round(run: RunDirectory) -> list[int]:
    """Return the number of images requested in each round of a run."""
    metrics = read_metrics(run)
    return [] if metrics.empty else [int(asked) for asked in metrics["draws_asked"]]


def ask(run: RunDirectory, state: Path) -> None:
    """Evaluate the questions on every checkpoint that lacks them."""
    from flows.evaluate import evaluate

    evaluate(run.settings, run.name, state)


def describe(run: RunDirectory) -> str:
    """Return one line about a run."""
    evaluations = read_evaluations(run)
    last, reported = evaluations.proxies[-1], reported_checkpoint(evaluations)
    assert reported is not None, run.name
    metrics = read_metrics(run)
    rounds = f"{len(metrics)} rounds, {(metrics['player'] == 'base').sum()} of the base"
    test = reported.test
    numbers = f"similarity {fmean(last.similarities):.4f}, pass@1 {test.overall_pass_at_1:.4f} ({test.checkpoint_name})"
    return f"{run.name:<16} {rounds}, {draws_asked(run)} draws asked: {numbers}"


def print_comparison(what: str, *comparisons: Comparison | None) -> None:
    """Print the differences duel minus base-only for one seed."""
    for found in comparisons:
        assert found is not None, what
        change = f"{found.difference}, p = {found.p_value:.4f}"
        print(f"{what:<18} {found.measure:<20} duel - alone {change} ({found.n} {found.units})", flush=True)


def print_pooled(pairs: Sequence[tuple[RunDirectory, RunDirectory]]) -> None:
    """Print the differences of unit means over seeds; intervals are over units (images, questions), not over seeds."""
    duels, arms = zip(*pairs, strict=True)
    similarity = compare_units("held-out similarity", "alone", held_out(arms), "duel", held_out(duels))
    answers = compare_units("pass@1", "alone", pass_at_1(arms), "duel", pass_at_1(duels))
    print_comparison(f"mean of {len(pairs)} seeds", similarity, answers)


def held_out(runs: Sequence[RunDirectory]) -> dict[Unit, float]:
    """Return each held-out image's final similarity, averaged over runs."""
    return mean_by_unit([read_proxies(run)[-1].similarity_of for run in runs])


def pass_at_1(runs: Sequence[RunDirectory]) -> dict[Unit, float]:
    """Return each question's pass@1 at the reported checkpoint, averaged over runs."""
    found = []
    for run in runs:
        reported = reported_checkpoint(read_evaluations(run))
        assert reported is not None, run.name
        found.append({r.unit: r.pass_at_1 for r in reported.test.per_chart_results if r.pass_at_1 is not None})
    return mean_by_unit(found)


def mean_by_unit(found: Sequence[Mapping[Unit, float]]) -> dict[Unit, float]:
    """Return the mean over runs of each unit that all runs have."""
    common = [unit for unit in found[0] if all(unit in one for one in found)]
    return {unit: fmean(one[unit] for one in found) for unit in common}


if __name__ == "__main__":
    main()
