"""Some scenarios of `make chaos`: killed and resumed runs equal an uninterrupted one.

Slow (minutes): `make test-slow` runs it, and CI does.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos import differences
from benchmarks.kills import PLACES, Kill, Scenario, highest_n, scenarios, spread

ROOT = Path(__file__).parents[2]


def test_scenarios_cover_every_kill_point_and_number_more_than_sixty():
    named = {kill.place for scenario in scenarios() for kill in scenario.kills}
    assert set(PLACES) <= named
    assert len(set(scenarios())) == len(scenarios()) > 60
    assert any(len(scenario.kills) == 3 for scenario in scenarios())


def test_what_ci_runs_has_faults_and_full_tuning():
    assert {(one.tuning, one.faults) for one in spread(scenarios(), 7)} >= {("lora", False), ("full", True)}
    assert any(one.faults and one.tuning == "lora" for one in scenarios())


def test_a_kill_is_installed_where_it_will_be_reached():
    kills = [kill for scenario in scenarios() for kill in scenario.kills if kill.place in PLACES]
    assert all(1 <= kill.nth <= highest_n(kill.place) for kill in kills)


def test_what_differs_is_named():
    uninterrupted = {"found": {"metrics.jsonl": "a", "weights": "b"}, "counts": {"images_billed": 10}}
    same = {**uninterrupted, "recorded": (9, 10)}
    other = {"found": {"metrics.jsonl": "c"}, "counts": {"images_billed": 11}, "recorded": (10, 10)}
    assert differences(uninterrupted, same) == []
    assert differences(uninterrupted, other) == [
        "metrics.jsonl", "weights", "11 images paid for, 10 needed", "11 images paid for, the ledger says 10 to 10",
    ]  # fmt: skip


def test_a_scenario_prints_its_kills_and_what_is_different():
    kill = Kill("half of the gradient", 3)
    assert str(Scenario((kill,))) == "half of the gradient (3)"
    assert str(Scenario((kill, kill), "full", True)).endswith("(3); full tuning; service faults")


@pytest.mark.slow
def test_killed_runs_end_like_the_uninterrupted_one():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--only", "7"],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "7 runs, 0 wrong" in done.stdout
