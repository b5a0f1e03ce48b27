"""A run of commit f142dea (pruned), from before records had schemas, can be read but not resumed."""

import shutil
from pathlib import Path

import pytest

from artifacts.report.html import write_report
from artifacts.run.checkpoints import CheckpointRecord, list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.round_record import RecordedAttempt, RecordedDrawing
from artifacts.run.rounds import read_round
from artifacts.run.versions import read_versions
from duel.errors import RunError
from duel.state import StateDirectory
from duel.types import UpdateReport
from flows.cli import main

OLD = Path(__file__).parents[1] / "data" / "run_f142dea"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory whose one run is `old`."""
    path = tmp_path / "runs" / "old"
    shutil.copytree(OLD, path)
    (path / "plots").mkdir()  # git keeps no empty folder
    return tmp_path


@pytest.fixture
def run(state: Path) -> RunDirectory:
    return RunDirectory.read(StateDirectory(state), "old")


def test_rounds_are_read_as_current_records(run: RunDirectory) -> None:
    recorded = read_round(run, 0)
    assert (recorded.round, recorded.player, recorded.draws_asked) == (0, "base", 35)
    assert recorded.update == UpdateReport(-6.51925802230835e-09, 0.0932210385799408, 4, 0, 1, 1)
    assert recorded.update.logprob_gap_mean is recorded.update.logprob_gap_max is None
    key = "b3c6b8912692f4f2040dfb7bd793a189b57d188782e0187530c74512bf083026"
    assert recorded.attempts[1] == RecordedAttempt(
        prompt="A pie chart.",
        drawing=RecordedDrawing(key, 1692670328, "group-3-drawing.png", None),
        description="A pie chart titled trade, values 4 8 5, no legend, grey background.",
        reconstruction=RecordedDrawing(
            "9b7db77bc4bbf79051de002c13567589df273b2097855080e21b1999745e8a6b",
            260263967,
            "group-3-reconstruction-6.png",
            None,
        ),
        similarity=0.9999999403953552,
        reward=0.9999999403953552,
        tokens=18,
        finished=True,
    )


def test_checkpoints_and_versions_have_no_version_of_duel(run: RunDirectory) -> None:
    assert [checkpoint.record for checkpoint in list_checkpoints(run)] == [
        CheckpointRecord(0, ["adversary", "base"], None),
        CheckpointRecord(8, ["adversary", "base"], None),
    ]
    versions = read_versions(run.path)
    assert (versions.duel, versions.run_schema, versions.python) == (None, 1, "3.11.7")
    assert versions.by_name == {"python": "3.11.7", **versions.libraries}
    assert versions.libraries["torch"] == "2.13.0+cpu"


def test_status_is_printed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--run", "old", "--state", str(state)]) == 0
    said = capsys.readouterr().out
    assert "8 of 8 recorded (4 base, 4 adversary)" in said
    assert "2 checkpoints evaluated, pass@1 0.783 at the first, 0.767 at the last" in said


def test_the_report_is_written(run: RunDirectory) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert "0.767" in page
    assert "A pie chart titled trade, values 4 8 5, no legend, grey background." in page
    assert "torch 2.13.0+cpu" in page
    assert not (run.plots / "logprob_gap.png").exists()  # not measured then
    assert (run.path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_resuming_is_refused_in_one_line_and_changes_nothing(run: RunDirectory) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(
        RunError, match=r"run old was created by a version of Duel before 0\.1\.0; .*another run name"
    ) as caught:
        RunDirectory.open(run.state, "old", run.settings)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in before} == before
