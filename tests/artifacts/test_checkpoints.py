"""Checkpoints: complete or absent, weights kept, training states pruned, resume from the last complete one."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import duel
from artifacts.run import files
from artifacts.run.checkpoints import (
    Checkpoint,
    CheckpointRecord,
    list_checkpoints,
    load_checkpoint,
    load_latest,
    write_checkpoint,
)
from artifacts.run.directory import RunDirectory
from duel.errors import DamagedError, RunError, StorageError
from duel.settings import Settings
from duel.state import StateDirectory


class Counter:
    """A player whose weights and training state are one number each."""

    def __init__(self, weights: int = 0, steps: int = 0) -> None:
        self.weights, self.steps = weights, steps

    def save(self, directory: Path) -> None:
        (directory / "weights.txt").write_text(str(self.weights))

    def load(self, directory: Path) -> None:
        if not (directory / "weights.txt").stat().st_size:
            raise DamagedError("weights.txt is empty")
        self.weights = int((directory / "weights.txt").read_text())

    def save_training_state(self, directory: Path) -> None:
        (directory / "steps.txt").write_text(str(self.steps))

    def load_training_state(self, directory: Path) -> None:
        self.steps = int((directory / "steps.txt").read_text())


class Breaks(Counter):
    """A player whose save fails half way."""

    def save_training_state(self, directory: Path) -> None:
        (directory / "half").write_text("half")
        raise OSError("no space left on device")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    opened = RunDirectory.open(StateDirectory(tmp_path), "run_1", Settings())
    opened.close()
    return opened


def players(number: int) -> dict[str, Counter]:
    return {"base": Counter(number, number * 10), "adversary": Counter(number + 1, number * 10 + 1)}


def test_a_checkpoint_is_loaded_as_written(run: RunDirectory) -> None:
    written = write_checkpoint(run, 4, players(7), keep=2)
    assert written.path == run.checkpoints / "ckpt-4"
    assert (written.weights("base") / "weights.txt").read_text() == "7"
    assert (written.path / "training_state" / "adversary" / "steps.txt").read_text() == "71"
    assert written.name == "ckpt-4"
    record = written.record
    assert record == CheckpointRecord(4, ["adversary", "base"], duel.__version__, record.sha256)
    assert record.sha256["base/weights.txt"] == hashlib.sha256(b"7").hexdigest()
    assert sorted(record.sha256) == [
        "adversary/weights.txt",
        "base/weights.txt",
        "training_state/adversary/steps.txt",
        "training_state/base/steps.txt",
    ]
    loaded = {"base": Counter(), "adversary": Counter()}
    load_checkpoint(written, loaded)
    assert vars(loaded["base"]) == {"weights": 7, "steps": 70}
    assert vars(loaded["adversary"]) == {"weights": 8, "steps": 71}


def test_a_checkpoint_of_schema_1_is_read_without_a_version(run: RunDirectory) -> None:
    written = write_checkpoint(run, 4, players(7), keep=2)
    files.write_json(written.path / "checkpoint.json", {"rounds_done": 4, "players": ["adversary", "base"]})
    assert written.record == CheckpointRecord(4, ["adversary", "base"], duel=None)


def test_a_checkpoint_that_lacks_a_player_is_not_loaded(run: RunDirectory) -> None:
    written = write_checkpoint(run, 4, {"base": Counter(7)}, keep=2)
    with pytest.raises(RunError, match=r"ckpt-4 holds base and not adversary"):
        load_checkpoint(written, players(1))


def test_pruning_keeps_all_weights_and_the_last_training_states(run: RunDirectory) -> None:
    for done in (0, 2, 10, 9):
        write_checkpoint(run, done, players(done), keep=2)
    found = list_checkpoints(run)
    assert [checkpoint.rounds_done for checkpoint in found] == [0, 2, 9, 10]
    assert [checkpoint.resumable for checkpoint in found] == [False, False, True, True]
    assert all((checkpoint.weights("base") / "weights.txt").exists() for checkpoint in found)
    latest = load_latest(run, players(0))
    assert latest is not None
    assert latest.rounds_done == 10
    assert not list(run.checkpoints.glob(".*"))


def test_a_run_without_checkpoint_has_none(run: RunDirectory) -> None:
    assert load_latest(run, players(0)) is None
    assert list_checkpoints(run) == []


def test_a_failed_write_leaves_the_older_checkpoint(run: RunDirectory) -> None:
    write_checkpoint(run, 2, players(2), keep=2)
    with pytest.raises(OSError, match="no space"):
        write_checkpoint(run, 2, {"base": Breaks(9, 9)}, keep=2)
    with pytest.raises(OSError, match="no space"):
        write_checkpoint(run, 3, {"base": Breaks(9, 9)}, keep=2)
    assert [path.name for path in run.checkpoints.iterdir()] == ["ckpt-2"]
    assert (run.checkpoints / "ckpt-2" / "base" / "weights.txt").read_text() == "2"


def test_writing_again_replaces(run: RunDirectory) -> None:
    write_checkpoint(run, 2, players(2), keep=2)
    write_checkpoint(run, 2, players(5), keep=2)
    assert [path.name for path in run.checkpoints.iterdir()] == ["ckpt-2"]
    assert (run.checkpoints / "ckpt-2" / "base" / "weights.txt").read_text() == "5"


KILLED = """
import os, signal, sys
from pathlib import Path

sys.path.insert(0, "")
from artifacts.run import checkpoints, files
from artifacts.run.directory import RunDirectory
from duel.state import StateDirectory
from tests.artifacts.test_checkpoints import players

place, done = sys.argv[2], int(sys.argv[3])

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def between_the_renames(temporary, path):
    path.rename(path.with_name(files.REPLACED + path.name))
    die()

def die_while_pruning(path, **_):
    if path.name.endswith("training_state"):
        die()

if place == "before the rename":
    files._put_in_place = die
elif place == "between the renames":
    files._put_in_place = between_the_renames
elif place == "while pruning":
    files.shutil.rmtree = die_while_pruning
run = RunDirectory.read(StateDirectory(Path(sys.argv[1])), "run_1")
checkpoints.write_checkpoint(run, done, players(done + 100), keep=1)
"""


@pytest.mark.parametrize(
    ("place", "done", "latest"),
    [("before the rename", 4, 2), ("before the rename", 2, 2), ("between the renames", 2, 2), ("while pruning", 4, 4)],
)
def test_a_kill_leaves_a_complete_checkpoint_to_resume_from(
    tmp_path: Path, run: RunDirectory, place: str, done: int, latest: int
) -> None:
    write_checkpoint(run, 2, players(2), keep=1)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), place, str(done)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -signal.SIGKILL

    loaded = {"base": Counter(), "adversary": Counter()}
    found = load_latest(run, loaded)
    assert found is not None
    assert found.rounds_done == latest
    assert loaded["base"].steps == (20 if latest == 2 else 1040)
    assert all(path.name.startswith("ckpt-") for path in run.checkpoints.iterdir())  # leftovers are gone
    assert not any(path.name.startswith(files.TEMPORARY) for path in run.checkpoints.rglob("*"))


def test_files_have_the_usual_permissions(run: RunDirectory) -> None:
    umask = os.umask(0o022)
    try:
        written = write_checkpoint(run, 1, players(1), keep=1)
    finally:
        os.umask(umask)
    assert written.path.stat().st_mode & 0o777 == 0o755
    assert (written.path / "checkpoint.json").stat().st_mode & 0o777 == 0o644


def truncate_weights(checkpoint: Checkpoint, player: str) -> None:
    (checkpoint.weights(player) / "weights.txt").write_bytes(b"")


def test_a_damaged_checkpoint_is_set_aside_and_the_last_good_one_loaded(
    run: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    written = [write_checkpoint(run, done, players(done), keep=3) for done in (2, 4, 6)]
    truncate_weights(written[2], "adversary")
    (written[1].path / "checkpoint.json").write_text("{")
    loaded = {"base": Counter(), "adversary": Counter()}
    found = load_latest(run, loaded)
    assert found is not None
    assert found.rounds_done == 2
    assert loaded["base"].weights == 2
    assert [checkpoint.rounds_done for checkpoint in list_checkpoints(run)] == [2]
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["ckpt-2", "damaged-ckpt-4", "damaged-ckpt-6"]
    assert "ckpt-6 is now damaged-ckpt-6; going on from ckpt-2: " in caplog.text
    assert "ckpt-6/adversary/weights.txt is damaged" in caplog.text


def test_without_a_good_checkpoint_nothing_is_set_aside_and_the_newest_is_named(run: RunDirectory) -> None:
    truncate_weights(write_checkpoint(run, 4, players(4), keep=1), "base")
    with pytest.raises(DamagedError, match=r"weights.txt is damaged.*; ckpt-4 is damaged, and no earlier .* round 0"):
        load_latest(run, players(0))
    assert [checkpoint.rounds_done for checkpoint in list_checkpoints(run)] == [4]


class Full(Counter):
    """A player whose save meets a full disk."""

    def save(self, directory: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_line_and_leaves_no_file(run: RunDirectory) -> None:
    with pytest.raises(StorageError, match=r"the disk is full \(.*ckpt-2\); what was recorded before is safe, .* free"):
        write_checkpoint(run, 2, {"base": Full(), "adversary": Full()}, keep=1)
    assert list(run.checkpoints.iterdir()) == []


@pytest.mark.parametrize("name", ["base/weights.txt", "training_state/adversary/steps.txt"])
def test_a_flipped_bit_is_one_line_that_names_the_file(run: RunDirectory, name: str) -> None:
    written = write_checkpoint(run, 4, players(7), keep=2)
    file = written.path / name
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    loaded = players(0)
    with pytest.raises(DamagedError, match=rf"{name} is damaged: its SHA-256 is not the one"):
        load_checkpoint(written, loaded)
    assert [player.weights for player in loaded.values()] == [0, 1]


def test_a_missing_file_of_a_checkpoint_is_named(run: RunDirectory) -> None:
    written = write_checkpoint(run, 4, players(7), keep=2)
    (written.path / "base" / "weights.txt").unlink()
    with pytest.raises(DamagedError, match=r"base/weights.txt is missing"):
        written.check(written.weights("base"))


def test_a_checkpoint_without_hashes_is_read(run: RunDirectory) -> None:
    written = write_checkpoint(run, 4, players(7), keep=2)
    older = {"schema": 2, "rounds_done": 4, "players": ["adversary", "base"], "duel": "0.1.0"}
    (written.path / "checkpoint.json").write_text(json.dumps(older))
    loaded = players(0)
    load_checkpoint(written, loaded)
    assert loaded["base"].weights == 7
