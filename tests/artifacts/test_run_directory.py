"""The run directory: locked for one process, opened with its own settings only, mended before a resume."""

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import duel
from artifacts.evaluation.read import read_evaluations
from artifacts.pdf.round import write_round_pdf
from artifacts.run import files
from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.lock import owner_of
from artifacts.run.metrics import append_metrics, append_timings, has_metrics
from artifacts.run.records import write_record
from artifacts.run.rounds import write_round
from artifacts.run.versions import read_versions
from duel.errors import RunError
from duel.settings import Settings
from duel.settings.profile import read_settings
from duel.state import StateDirectory
from tests.support.fake_run import Images, fake_record, fake_run


def open_run(state: Path, **settings: object) -> RunDirectory:
    return RunDirectory.open(StateDirectory(state), "run_1", read_settings(settings))


def test_a_new_run_has_the_references_folders_and_its_settings(tmp_path: Path) -> None:
    with open_run(tmp_path, seed=5) as run:
        assert run.path == tmp_path / "runs" / "run_1"
    names = {path.name for path in run.path.iterdir() if path.is_dir()}
    assert names == {"training_logs", "eval_logs", "ckpts", "ckpt_tests", "plots", "stage_results", "sessions"}
    assert Settings.model_validate(json.loads((run.path / "settings.json").read_text())) == Settings(seed=5)
    versions = json.loads((run.path / "versions.json").read_text())
    assert (versions["schema"], versions["run_schema"], versions["duel"]) == (2, 2, duel.__version__)
    assert versions["libraries"]["torch"]
    assert RunDirectory.read(StateDirectory(tmp_path), "run_1").settings == Settings(seed=5)


def test_a_run_records_the_version_of_a_plugin_class_and_warns_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "strict_judge.py"
    source.write_text("class Strict:\n    pass\n")
    service = {"service": "strict_judge:Strict"}
    first, second = (f"sha256:{hashlib.sha256(text).hexdigest()}" for text in (source.read_bytes(), b"Strict = dict\n"))
    with open_run(tmp_path, judge=service) as run:
        assert json.loads((run.path / "versions.json").read_text())["plugins"] == {
            "judge.service": {"name": "strict_judge:Strict", "version": first}
        }
    open_run(tmp_path, judge=service).close()
    assert not caplog.messages
    source.write_bytes(b"Strict = dict\n")
    open_run(tmp_path, judge=service).close()
    assert caplog.messages == [
        f"run run_1: judge.service was strict_judge:Strict ({first}) when the run was opened last, and is "
        f"strict_judge:Strict ({second}) now"
    ]
    del sys.modules["strict_judge"]


def test_differing_defining_settings_are_refused_and_each_is_named(tmp_path: Path) -> None:
    open_run(tmp_path, seed=5, rounds=10).close()
    before = (tmp_path / "runs" / "run_1" / "settings.json").read_bytes()
    with pytest.raises(RunError) as caught:
        open_run(tmp_path, seed=6, rounds=20, sampling={"group_size": 4})
    message = str(caught.value)
    assert "seed: 5 then, 6 now" in message
    assert "sampling.group_size: 8 then, 4 now" in message
    assert "rounds" not in message.replace("run_1", "")
    assert "\n" not in message
    assert (tmp_path / "runs" / "run_1" / "settings.json").read_bytes() == before
    open_run(tmp_path, seed=5, rounds=10).close()  # the refused one left no lock


def test_a_run_of_an_incompatible_version_is_refused_naming_the_version(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    path = tmp_path / "runs" / "run_1"
    write_record(path / "versions.json", dataclasses.replace(read_versions(path), run_schema=3, duel="9.1.0"))
    with pytest.raises(RunError, match=r"run run_1 was created by Duel 9\.1\.0; Duel .* cannot resume it"):
        open_run(tmp_path)


def test_a_differing_operational_setting_is_accepted_and_written(tmp_path: Path) -> None:
    open_run(tmp_path, rounds=10).close()
    open_run(tmp_path, rounds=20, generator={"concurrency": 3}).close()
    settings = RunDirectory.read(StateDirectory(tmp_path), "run_1").settings
    assert (settings.rounds, settings.generator.concurrency) == (20, 3)


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", "/etc", ".hidden", "a b", "a\n", "x" * 101])
def test_a_name_that_could_leave_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="bad run name"):
        RunDirectory.open(StateDirectory(tmp_path), name, Settings())
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_directory_is_reported_in_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot open run run_1 in .*file/runs.*expected a directory") as caught:
        open_run(tmp_path / "file")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_state_directory_is_reported_in_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(RunError, match="cannot open run"):
        open_run(tmp_path)


def test_a_run_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "run_1").write_text("a file")
    with pytest.raises(RunError, match="cannot open run run_1"):
        open_run(tmp_path)


def test_a_directory_with_foreign_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs" / "run_1").mkdir(parents=True)
    (tmp_path / "runs" / "run_1" / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="not a run of Duel: it holds thesis"):
        open_run(tmp_path)
    assert [path.name for path in (tmp_path / "runs" / "run_1").iterdir()] == ["thesis.tex"]


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    (tmp_path / "runs" / "run_1" / "settings.json").write_text('{"sead": 1}')
    with pytest.raises(RunError, match=r"cannot read .*settings.json: .*sead is not a setting; did you mean seed"):
        open_run(tmp_path)


def test_reading_a_missing_run_lists_existing_ones(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no runs there yet"):
        RunDirectory.read(StateDirectory(tmp_path), "other")
    open_run(tmp_path).close()
    with pytest.raises(RunError, match=r"no run other in .*runs there: run_1"):
        RunDirectory.read(StateDirectory(tmp_path), "other")


def test_a_second_opening_is_refused_and_names_the_owner(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        owner = f"process {os.getpid()} on host {socket.gethostname()}, started 2"
        with pytest.raises(RunError, match=f"run run_1 is in use by {owner}"):
            open_run(tmp_path)
        assert (owner_of(run.path / "lock") or "").startswith(owner)
        RunDirectory.read(StateDirectory(tmp_path), "run_1")  # looking takes no lock
    assert owner_of(run.path / "lock") is None
    open_run(tmp_path).close()


def test_reading_the_lock_owner_never_prevents_opening(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        lock = run.path / "lock"
    with lock.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # as owner_of does, for a moment
        threading.Timer(0.05, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        open_run(tmp_path).close()


OWNER = """
import sys, time
from pathlib import Path
from artifacts.run.directory import RunDirectory
from duel.settings import Settings
from duel.state import StateDirectory
from tests.support.fake_run import fake_run

run = RunDirectory.open(StateDirectory(Path(sys.argv[1])), "run_1", Settings())
print("open", flush=True)
time.sleep(60)
"""


def test_the_owning_process_is_named_and_its_lock_ends_with_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(RunError, match=f"in use by process {owner.pid} on host"):
            open_run(tmp_path)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    lock = tmp_path / "runs" / "run_1" / "lock"
    assert str(owner.pid) in lock.read_text()  # the dead one's name is still in it
    with open_run(tmp_path):
        assert str(os.getpid()) in lock.read_text()


def record_round(run: RunDirectory, index: int) -> None:
    images = Images()
    record = fake_record(index, images, size=2)
    write_round(run, record, images.read, write_round_pdf)
    append_metrics(run, record)
    append_timings(run, index, {"learn": 0.5}, draws_made=3)


def test_mending_removes_only_incomplete_lines_and_temporary_files(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        for index in range(3):
            record_round(run, index)
        whole, timings = run.metrics.read_bytes(), run.timings.read_bytes()
        run.metrics.write_bytes(whole + b'{"round": 5, "pla')  # killed in the middle of a line
        run.timings.write_bytes(timings + b'{"round"')
        (run.training_logs / f"{files.TEMPORARY}0123-round-0005").mkdir()
        run.mend()
        assert (run.metrics.read_bytes(), run.timings.read_bytes()) == (whole, timings)
        assert run.rounds_recorded() == [0, 1, 2]
        assert not list(run.training_logs.glob(".*"))
        changed = run.metrics.stat().st_mtime_ns
        run.mend()
        assert run.metrics.stat().st_mtime_ns == changed


def test_a_round_counts_as_recorded_if_its_row_is_equal(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        record_round(run, 0)
        assert has_metrics(run, fake_record(0, Images(), size=2))
        assert not has_metrics(run, fake_record(1, Images(), size=2))
        other = dataclasses.replace(fake_record(0, Images(), size=2), draws_asked=99)
        assert not has_metrics(run, other)


def test_recording_a_round_twice_leaves_one_row(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        record_round(run, 0)
        record_round(run, 1)
        once = run.metrics.read_bytes()
        record_round(run, 1)
        assert run.metrics.read_bytes() == once


def test_copies_beside_a_runs_own_folders_and_files_are_left_alone(tmp_path):
    run = fake_run(tmp_path, rounds=4, every=2, recorded=4)
    before = read_evaluations(run)
    shutil.copytree(run.round_directory(2), run.training_logs / "round-2.bak")
    (run.checkpoints / "ckpt-4.bak").mkdir(parents=True)
    (run.checkpoints / "ckpt-4.bak" / "checkpoint.json").write_text("{}")
    for folder, name in ((run.eval_logs, "eval-0002.json"), (run.checkpoint_tests, "ckpt-2.json")):
        shutil.copyfile(folder / name, folder / name.replace(".json", " (1).json"))
    assert run.rounds_recorded() == [0, 1, 2, 3]
    assert list_checkpoints(run) == []
    assert read_evaluations(run) == before
