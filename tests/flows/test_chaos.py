"""Some scenarios of `make chaos`: killed and resumed runs equal an uninterrupted one.

Slow (minutes): `make test-slow` runs it, and CI does.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos import differences, scenarios
from benchmarks.kills import PLACES, Kill, highest_n

ROOT = Path(__file__).parents[2]


def test_scenarios_cover_every_kill_point_and_number_more_than_forty():
    named = {kill.place for kills in scenarios() for kill in kills}
    assert set(PLACES) <= named
    assert len(scenarios()) >= 40
    assert any(len(kills) == 3 for kills in scenarios())


def test_a_kill_is_installed_where_it_will_be_reached():
    assert all(
        1 <= kill.nth <= highest_n(kill.place) for kills in scenarios() for kill in kills if kill.place in PLACES
    )


def test_what_differs_is_named():
    uninterrupted = {"found": {"metrics.jsonl": "a", "weights": "b"}, "counts": {"created": 10}}
    same = {"found": {"metrics.jsonl": "a", "weights": "b"}, "counts": {"created": 10}}
    other = {"found": {"metrics.jsonl": "c"}, "counts": {"created": 11}}
    assert differences(uninterrupted, same) == []
    assert differences(uninterrupted, other) == ["metrics.jsonl", "weights", "11 images paid for, 10 needed"]


def test_a_kill_prints_its_point_and_count():
    assert str(Kill("half of the gradient", 3)) == "half of the gradient (3)"


@pytest.mark.slow
def test_killed_runs_end_like_the_uninterrupted_one():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--only", "8"],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "8 runs, 0 wrong" in done.stdout
