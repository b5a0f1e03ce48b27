"""Checkpoints on disk: `ckpts/ckpt-N/`, N being the rounds done, each one whole or absent.

ckpt-N/checkpoint.json          rounds done, players, Duel's version
ckpt-N/<player>/                weights, kept for every checkpoint
ckpt-N/training_state/<player>/ what resuming needs, kept for the last few
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import duel
from artifacts.run import files
from artifacts.run.directory import RunDirectory
from artifacts.run.records import Record, read_record, write_record
from duel.errors import RunError
from duel.types import Player


class Saves(Protocol):
    """What a player must be able to do to be kept."""

    def save(self, directory: Path) -> None:
        """Write the weights into `directory`."""

    def load(self, directory: Path) -> None:
        """Take the weights from `directory`."""

    def save_training_state(self, directory: Path) -> None:
        """Write optimizer state, counters and accumulated gradients into `directory`."""

    def load_training_state(self, directory: Path) -> None:
        """Take them from `directory`."""


@dataclass(frozen=True)
class CheckpointRecord(Record):
    """`checkpoint.json`. Schema 1 did not say which version of Duel wrote it."""

    SCHEMA: ClassVar[int] = 2

    rounds_done: int
    players: list[Player]
    duel: str | None  # version; None: before 0.1.0

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return a file of schema 1 without a version."""
        return {**content, "duel": None} if schema == 1 else None


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint directory."""

    path: Path
    rounds_done: int

    @property
    def name(self) -> str:
        """`ckpt-N`."""
        return self.path.name

    @property
    def record(self) -> CheckpointRecord:
        """What `checkpoint.json` says; raises RunError when it cannot be read."""
        return read_record(self.path / "checkpoint.json", CheckpointRecord)

    @property
    def resumable(self) -> bool:
        """Whether it still holds what resuming needs."""
        return (self.path / "training_state").is_dir()

    def weights(self, player: str) -> Path:
        """Return the directory of a player's weights."""
        return self.path / player

    def training_state(self, player: str) -> Path:
        """Return the directory of what a player needs to resume."""
        return self.path / "training_state" / player


def write_checkpoint(run: RunDirectory, rounds_done: int, players: Mapping[Player, Saves], keep: int) -> Checkpoint:
    """Write `ckpt-<rounds_done>`, then drop the training states of all but the last `keep` checkpoints."""
    checkpoint = Checkpoint(run.checkpoints / f"ckpt-{rounds_done}", rounds_done)
    files.clean_leftovers(run.checkpoints)
    with files.new_directory(checkpoint.path, durable=True) as directory:
        for name, player in players.items():
            for part, save in ((directory, player.save), (directory / "training_state", player.save_training_state)):
                (part / name).mkdir(parents=True)
                save(part / name)
        write_record(directory / "checkpoint.json", CheckpointRecord(rounds_done, sorted(players), duel.__version__))
    prune(run, keep)
    return checkpoint


def load_checkpoint(checkpoint: Checkpoint, players: Mapping[Player, Saves]) -> None:
    """Bring the players to exactly where they were when the checkpoint was written.

    Raises RunError when it cannot be read, or lacks one of the players.
    """
    missing = sorted(players.keys() - set(checkpoint.record.players))
    if missing:
        held = ", ".join(checkpoint.record.players)
        raise RunError(f"{checkpoint.path} holds {held} and not {missing[0]}; expected all players that the run trains")
    for name, player in players.items():
        player.load(checkpoint.weights(name))
        player.load_training_state(checkpoint.training_state(name))


def list_checkpoints(run: RunDirectory) -> list[Checkpoint]:
    """Return all whole checkpoints by rounds done; leftovers of killed writes are not among them."""
    found = [path.parent for path in run.checkpoints.glob("ckpt-[0-9]*/checkpoint.json")]
    return sorted(
        (Checkpoint(path, int(path.name.removeprefix("ckpt-"))) for path in found),
        key=lambda checkpoint: checkpoint.rounds_done,
    )


def latest_resumable(run: RunDirectory) -> Checkpoint | None:
    """Return the last checkpoint that can be resumed from, after mending what a killed write left."""
    files.clean_leftovers(run.checkpoints)
    return next((checkpoint for checkpoint in reversed(list_checkpoints(run)) if checkpoint.resumable), None)


def prune(run: RunDirectory, keep: int) -> None:
    """Drop the training states of all but the last `keep` checkpoints; weights stay."""
    resumable = [checkpoint for checkpoint in list_checkpoints(run) if checkpoint.resumable]
    for checkpoint in resumable[:-keep]:
        files.remove_directory(checkpoint.path / "training_state", aside=run.checkpoints)
