"""A report reads every file of evaluations and logs once; openings are counted by an audit hook."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.run.directory import RunDirectory
from tests.support.fake_run import fake_run

WRITE_REPORT = """
import json, sys
from collections import Counter
from pathlib import Path

from artifacts.report.html import write_report
from artifacts.run.directory import RunDirectory
from duel.state import StateDirectory
from duel.state import StateDirectory

state, *names = sys.argv[1:]
runs = [RunDirectory.read(StateDirectory(Path(state)), name) for name in names]
opened = Counter()

def count(event, arguments):
    if event == "open" and str(arguments[0]).startswith(state):
        opened[str(arguments[0])] += 1

sys.addaudithook(count)
write_report(*runs)
print(json.dumps(opened))
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], list[RunDirectory]]:
    """Return how often a report of two runs opens each file of theirs."""
    state = tmp_path_factory.mktemp("state")
    runs = [fake_run(state, "duel", 6, 2, recorded=2), fake_run(state, "alone", 6, 2, adversary=False, recorded=2)]
    command = [sys.executable, "-c", WRITE_REPORT, str(state), "duel", "alone"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]), runs


def test_a_report_reads_each_evaluation_of_both_runs_once(
    opened: tuple[dict[str, int], list[RunDirectory]],
) -> None:
    counts, runs = opened
    folders = [folder for run in runs for folder in (run.eval_logs, run.checkpoint_tests)]
    evaluations = [str(path) for folder in folders for path in folder.glob("*.json")]
    assert len(evaluations) == 2 * (4 + 4)  # after 0, 2, 4 and 6 rounds
    assert {path: counts.get(path) for path in evaluations} == dict.fromkeys(evaluations, 1)


def test_a_report_reads_the_logs_of_both_runs_once(opened: tuple[dict[str, int], list[RunDirectory]]) -> None:
    counts, runs = opened
    logs = [str(path) for run in runs for path in (run.metrics, run.timings)]
    assert {path: counts.get(path) for path in logs} == dict.fromkeys(logs, 1)


def test_a_report_reads_each_recorded_round_once(opened: tuple[dict[str, int], list[RunDirectory]]) -> None:
    counts, runs = opened
    records = [str(runs[0].round_directory(index) / "record.json") for index in runs[0].rounds_recorded()]
    assert len(records) == 4
    assert {path: counts.get(path) for path in records} == dict.fromkeys(records, 1)
