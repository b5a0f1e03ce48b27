"""Snapshots of the adversary: written whole or not at all, listed in order of their numbers, pruned."""

from pathlib import Path

import pytest

from artifacts.run.directory import RunDirectory
from artifacts.run.snapshots import list_snapshots, prune_snapshots, snapshot_path, write_snapshot
from duel.settings import Settings
from duel.state import StateDirectory
from tests.artifacts.test_checkpoints import Counter


class BreaksHalfWay(Counter):
    def save(self, directory: Path) -> None:
        super().save(directory)
        raise OSError("no space left")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    with RunDirectory.open(StateDirectory(tmp_path), "run_1", Settings()) as run:
        return run


def test_snapshots_are_listed_by_number(run: RunDirectory) -> None:
    assert list_snapshots(run) == []
    for learned in (10, 0, 5):
        write_snapshot(run, learned, Counter(learned))
    assert list_snapshots(run) == [0, 5, 10]
    read = Counter(0)
    read.load(snapshot_path(run, 10))
    assert read.weights == 10


def test_a_snapshot_that_was_not_finished_is_not_there(run: RunDirectory) -> None:
    with pytest.raises(OSError, match="no space left"):
        write_snapshot(run, 5, BreaksHalfWay(5))
    assert list_snapshots(run) == []
    assert list(run.past_adversaries.iterdir()) == []


def test_snapshots_before_the_first_that_is_needed_are_removed(run: RunDirectory) -> None:
    for learned in (0, 5, 10):
        write_snapshot(run, learned, Counter(learned))
    prune_snapshots(run, 5)
    assert list_snapshots(run) == [5, 10]
