"""Snapshots of the adversary, `past_adversaries/adversary-N`: its weights after N rounds of its own."""

from __future__ import annotations

from pathlib import Path

from artifacts.run import files
from artifacts.run.checkpoints import Saves
from artifacts.run.directory import RunDirectory


def snapshot_path(run: RunDirectory, learned: int) -> Path:
    """Return the directory of the adversary's weights after `learned` rounds of its own."""
    return run.past_adversaries / f"adversary-{learned}"


def write_snapshot(run: RunDirectory, learned: int, adversary: Saves) -> None:
    """Write the adversary's weights, atomically."""
    with files.new_directory(snapshot_path(run, learned), durable=True) as directory:
        adversary.save(directory)


def list_snapshots(run: RunDirectory) -> list[int]:
    """Return after how many rounds of the adversary there are snapshots, in ascending order."""
    return list(files.numbered(run.past_adversaries, "adversary-"))


def prune_snapshots(run: RunDirectory, first: int) -> None:
    """Remove the snapshots of fewer than `first` rounds."""
    for learned in list_snapshots(run):
        if learned < first:
            files.remove_directory(snapshot_path(run, learned), aside=run.past_adversaries)
