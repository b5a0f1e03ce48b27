"""Learning curves in the offline world over several seeds: the duel, the base alone, the adversary alone.

Prints, per seed, held-out similarity at the start and the end with the paired 95 % interval of the change, and the
adversary's reward likewise with the base frozen. Run: python -m benchmarks.learning --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

from artifacts.evaluation.read import read_proxies
from artifacts.run.directory import RunDirectory
from duel.settings import Settings
from duel.settings.profile import override, read_profile, read_settings
from duel.state import StateDirectory
from duel.statistics import Interval, mean_interval, paired_interval
from flows.cli import PREFECT_DEFAULTS
from flows.profiles import profile_path

ARMS: dict[str, dict[str, Any]] = {
    "duel": {},
    "base alone": {"order": ["base"], "originals": "dataset"},
    "adversary alone": {"order": ["adversary"]},
}


def main() -> None:
    """Train every arm with every seed and print the changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--rounds", type=int, default=60, help="rounds of the duel; an arm of one player has half")
    parser.add_argument(
        "--state", type=Path, default=Path("state"), help="runs that are there are resumed, not repeated"
    )
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("SETTING", "JSON"), help="an override")
    options = parser.parse_args()
    print(f"{machine()}, {options.rounds} rounds")
    for arm in options.arms:
        for seed in options.seeds:
            report(arm, seed, train_arm(arm, seed, options))


def train_arm(arm: str, seed: int, options: argparse.Namespace) -> RunDirectory:
    """Train or resume one arm; return its run."""
    rounds = options.rounds if arm == "duel" else options.rounds // 2
    chosen = {name: json.loads(value) for name, value in options.set}
    settings = settings_of({**ARMS[arm], "seed": seed, "rounds": rounds, **chosen})
    return train_run(f"learning-{arm.replace(' ', '-')}-{seed}", settings, options.state)


def train_run(run: str, settings: Settings, state: Path) -> RunDirectory:
    """Train or resume a run, preparing its data set first; return it."""
    os.environ.update({name: value for name, value in PREFECT_DEFAULTS.items() if name not in os.environ})
    from flows.prepare import prepare
    from flows.train import train

    prepare(settings, state)
    train(settings, run, state)
    return RunDirectory.read(StateDirectory(state), run)


def settings_of(dotted: dict[str, Any]) -> Settings:
    """Return the settings of offline-reference with overrides by dotted name."""
    return read_settings(override(read_profile(profile_path("offline-reference")), dotted))


def report(arm: str, seed: int, run: RunDirectory) -> None:
    """Print how each player's metric changed over a run."""
    first, *_, last = read_proxies(run)
    for what, before, after in (
        ("held-out similarity", first.similarities, last.similarities),
        ("adversary's reward", first.adversary_rewards, last.adversary_rewards),
    ):
        if before:
            _print(arm, seed, what, before, after, paired_interval(before, after))


def _print(arm: str, seed: int, what: str, before: list[float], after: list[float], change: Interval) -> None:
    start, end = mean_interval(before).mean, mean_interval(after).mean
    sure = "rises" if change.low > 0 else "falls" if change.high < 0 else "undecided"
    print(f"{arm:16} seed {seed}  {what:20} {start:.4f} -> {end:.4f}  change {change}  {sure}", flush=True)


def machine() -> str:
    """Return a line describing this machine."""
    from importlib.metadata import version

    return f"machine: {platform.machine()}, {os.cpu_count()} cores, torch {version('torch')}"


if __name__ == "__main__":
    main()
