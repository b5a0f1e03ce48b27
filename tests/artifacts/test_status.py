from pathlib import Path

import pytest

import duel
from artifacts.run.checkpoints import CheckpointRecord
from artifacts.run.directory import RunDirectory
from artifacts.run.records import write_record
from artifacts.run.sessions import begin_session, end_session, read_sessions
from artifacts.status import status_lines
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Spend
from flows.cli import main
from tests.support.fake_run import add_strata, fake_run


def said(run: RunDirectory, spend: Spend | None = None) -> dict[str, str]:
    lines = [line.split("  ", 1) for line in status_lines(run, spend)]
    return {name.strip(): text.strip() for name, text in lines}


def test_a_finished_run_is_complete(tmp_path: Path) -> None:
    run = fake_run(tmp_path, rounds=6, every=3)
    (run.checkpoints / "ckpt-6").mkdir(parents=True)
    write_record(run.checkpoints / "ckpt-6" / "checkpoint.json", CheckpointRecord(6, ["base"], duel.__version__))
    found = said(run)
    assert found["rounds"] == "6 of 6 recorded (3 base, 3 adversary)"
    assert found["process"] == "not in training"
    assert found["last failure"] == "none"
    assert found["next"].startswith("training is complete")


def test_a_stopped_run_names_its_next_round_and_the_command_that_resumes_it(tmp_path: Path) -> None:
    run = fake_run(tmp_path, rounds=5)
    longer = RunDirectory(run.state, run.name, run.settings.model_copy(update={"rounds": 60}))
    found = said(longer)
    assert found["rounds"] == "5 of 60 recorded (3 base, 2 adversary); next is round 5, of the adversary"
    assert found["next"] == f"resume with duel train --run duel --state {tmp_path}, or Retry in the Prefect UI"


def test_the_training_process_is_named(tmp_path: Path) -> None:
    with RunDirectory.open(StateDirectory(tmp_path), "run", Settings()) as run:
        assert said(run)["process"].startswith("in training by process ")
        assert said(run)["next"] == "nothing to do while it is in training"


def test_the_last_failure_is_named_with_its_reason(tmp_path: Path) -> None:
    run = fake_run(tmp_path, rounds=4)
    end_session(run, begin_session(run, "train", ""), "failed", "GeneratorError: 3 of 8 images are missing")
    end_session(run, begin_session(run, "train", ""), "completed")
    assert said(run)["last failure"].endswith("train, after 4 rounds: GeneratorError: 3 of 8 images are missing")


def test_a_session_without_an_end_counts_as_killed(tmp_path: Path) -> None:
    run = fake_run(tmp_path, rounds=4)
    begin_session(run, "train", "")
    assert said(run)["last failure"].endswith("was killed")


def test_what_a_paid_run_cost(tmp_path: Path) -> None:
    spend = Spend(drawn=9, refused=2, failed=1, images=11, dollars=0.033)
    found = said(fake_run(tmp_path, rounds=4), spend)
    assert found["cost"] == "0.03 dollars for 11 images (9 drawn, 2 refused, 1 failed)"


def test_the_command_prints_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_run(tmp_path, rounds=4)
    assert main(["status", "--run", "duel", "--state", str(tmp_path)]) == 0
    assert "4 of 4 recorded" in capsys.readouterr().out


def test_a_missing_run_is_reported_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--run", "none", "--state", str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("duel: no run none in ")


def test_sessions_are_read_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    run = fake_run(tmp_path, rounds=4)
    first = end_session(run, begin_session(run, "train", "a"), "failed", "reason")
    second = begin_session(run, "train", "b")
    assert read_sessions(run) == [first, second]
    assert (first.rounds, second.outcome) == (4, None)


def test_a_run_whose_last_checkpoint_is_missing_is_not_complete(tmp_path: Path) -> None:
    found = said(fake_run(tmp_path, rounds=6, every=3))
    assert found["rounds"] == "6 of 6 recorded (3 base, 3 adversary)"
    assert found["next"].startswith("resume with duel train --run duel")


def test_common_and_hard_charts_are_told_apart_at_first_and_last(tmp_path: Path) -> None:
    run = fake_run(tmp_path, rounds=6, every=3)
    assert "similarity" not in said(run)
    add_strata(run, hard=0.6)  # charts of 0.6, 0.7, 0.6 and 0.6; each 0.2 less at first
    assert said(run)["similarity"] == (
        "0.800 on common charts at first, 0.800 at last; 0.425 on hard charts at first, 0.625 at last"
    )
