"""Which adversary is worth its draws? Arms through Duel's own commands, compared at equally many images drawn.

Arms with an adversary train for `--rounds`; those without, until they have asked for as many images as the most of the
others with their seed. Then questions are put to every checkpoint. Runs that are there are resumed, not repeated.

    python -m benchmarks.adversary --arms none duel --seeds 0 1                 # ten minutes on two cores
    python -m benchmarks.adversary --seeds 5 6 7 8 9 --rounds 252 --jobs 16     # all arms
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from artifacts.run.directory import RunDirectory
from benchmarks.adversary.arms import ALONE, ARMS, RECIPE, has_adversary
from benchmarks.adversary.play import Job
from benchmarks.adversary.results import Results, read_results
from benchmarks.adversary.tables import lines_of
from benchmarks.learning import machine
from duel.settings.profile import read_profile, read_settings
from duel.state import StateDirectory
from flows.profiles import profile_path

Arms = dict[str, dict[int, Results]]


def main() -> None:
    """Play, evaluate and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rounds", type=int, default=rounds_of(RECIPE), help="rounds of arms with an adversary")
    parser.add_argument("--images", type=int, default=4, help="training images of the data set")
    parser.add_argument("--charts", type=int, default=8, help="held-out charts of each stratum")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time, one core each")
    parser.add_argument("--state", type=Path, default=Path("state/adversary"))
    options = parser.parse_args()
    print(f"{machine()}\ncommand: python -m benchmarks.adversary {' '.join(sys.argv[1:])}", flush=True)
    print(*lines_of(play(options)), sep="\n")


def play(options: argparse.Namespace) -> Arms:
    """Train and evaluate all runs, `options.jobs` at once, and return their results by arm and seed."""
    shared = {"evaluation.charts_per_stratum": options.charts}
    images: dict[str, Any] = {"data.train_images": options.images}
    jobs = [
        Job(arm, seed, options.state.resolve(), shared | ({} if ARMS[arm].hard_charts else images))
        for seed in options.seeds
        for arm in options.arms
    ]
    alone = options.rounds * rounds_of(ALONE) // rounds_of(RECIPE)
    opposed = [job for job in jobs if has_adversary(job.arm)]
    at_once(options.jobs, [lambda job=job: job.play(options.rounds) for job in opposed])  # type: ignore[misc]
    draws = {job.seed: max(j.rounds_and_draws()[1] for j in opposed if j.seed == job.seed) for job in opposed}
    rest = [job for job in jobs if not has_adversary(job.arm)]
    at_once(options.jobs, [lambda job=job: job.play_to_draws(draws.get(job.seed, 0), alone) for job in rest])  # type: ignore[misc]
    at_once(options.jobs, [job.evaluate for job in jobs])
    found: Arms = {arm: {} for arm in options.arms}
    for job in jobs:
        found[job.arm][job.seed] = read_results(RunDirectory.read(StateDirectory(job.folder), job.name))
    return found


def at_once(threads: int, calls: Sequence[Callable[[], None]]) -> None:
    """Make the calls, so many at a time; raises the first failure once the calls under way have ended."""
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(call) for call in calls]
        for future in futures:
            future.result()


def rounds_of(profile: str) -> int:
    """Return the rounds of a shipped profile."""
    return read_settings(read_profile(profile_path(profile))).rounds


if __name__ == "__main__":
    main()
