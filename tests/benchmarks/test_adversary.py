import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.adversary.arms import ARMS, has_adversary, write_data
from benchmarks.adversary.results import HARD_STRATA, Results, difference, fewest_draws, mean
from benchmarks.adversary.tables import lines_of
from duel.offline.strata import STRATA
from duel.settings.profile import override, read_profile, read_settings
from flows.profiles import profile_path

METRICS = pd.DataFrame(
    {
        "player": ["adversary", "base", "adversary"],
        "self_similarity_mean": [0.5, None, 0.75],
        "plain_mean": [0.25, None, 0.5],
        "regret_mean": [0.125, None, 0.25],
        "invalid_refused": [0.0, None, 0.0],
        "invalid_ceiling": [0.5, None, 0.25],
        "invalid_off_topic": [None, None, None],
    }
)


def results(draws: int, *values: float) -> Results:
    """Return a run evaluated at 0 draws, with 0 everywhere, and after `draws`, with these values of two charts."""
    rows = [
        {
            "draws": asked,
            "canary": 0.4 if asked else 0.5,
            **{measure: {stratum: list(found) for stratum in STRATA} for measure in ("similarity", "answers")},
        }
        for asked, found in ((0, [0.0] * len(values)), (draws, values))
    ]
    return Results(rows, METRICS)


@pytest.mark.parametrize("name", ARMS)
def test_the_arms_are_settings(name: str) -> None:
    settings = read_settings(override(read_profile(profile_path(ARMS[name].profile)), ARMS[name].overrides))
    assert ("adversary" in settings.order) == has_adversary(name)


def test_runs_are_compared_at_the_fewest_draws_of_any() -> None:
    arms = {"none": {0: results(100, 0.2, 0.4)}, "duel": {0: results(200, 0.8, 0.6)}}
    assert fewest_draws(arms) == 100
    assert mean(arms["duel"], 100, "similarity", HARD_STRATA) == pytest.approx(0.35)  # half of the way to 0.7
    found = difference(arms["duel"], arms["none"], 100, "answers", ("common",))
    assert found.mean == pytest.approx((0.4 + 0.3) / 2 - (0.2 + 0.4) / 2)


def test_the_tables_show_arms_differences_and_the_course_of_adversaries() -> None:
    arms = {"none": {0: results(100, 0.2, 0.4)}, "duel": {0: results(200, 0.8, 0.6)}}
    text = "\n".join(lines_of(arms))
    assert "After 100 draws" in text
    assert "| duel | 1 | 3 | 200 | 0.350 | 0.350 | 0.350 | 0.350 | 0.500, -0.100 |" in text
    assert "| similarity, hard | +0.050 [" in text
    assert "| duel | 0.62 → 0.62 | 0.38 → 0.38 | 0.19 → 0.19 | 0.38 → 0.38 |" in text


def test_the_upper_bounds_training_images_are_hard_and_its_held_out_ones_the_same(tmp_path: Path) -> None:
    hard, common = write_data("upper", 3, tmp_path), write_data("none", 3, tmp_path)
    names = [f"{index:03}.png" for index in (0, 74)]
    assert all(
        (hard / "train_images" / name).read_bytes() != (common / "train_images" / name).read_bytes() for name in names
    )
    held_out = "strata_images/all/099.png"
    assert (hard / held_out).read_bytes() == (common / held_out).read_bytes()


@pytest.mark.slow
def test_two_arms_are_played_and_compared(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.adversary", "--arms", "none", "duel", "--seeds", "0"]
    small = ["--rounds", "2", "--charts", "1", "--state", str(tmp_path)]
    ended = subprocess.run([*command, *small], capture_output=True, text=True, check=True)
    assert "Difference from `none`" in ended.stdout
