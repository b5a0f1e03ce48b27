"""Checkpoints on disk, written atomically: directories `ckpts/ckpt-N/`, where N is the number of rounds done.

ckpt-N/checkpoint.json          rounds done, players, Duel's version, hash of every file below
ckpt-N/<player>/                weights, kept for every checkpoint
ckpt-N/training_state/<player>/ optimizer state, counters and accumulated gradients, kept for the last few checkpoints
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import duel
from artifacts.run import files
from artifacts.run.directory import RunDirectory
from artifacts.run.records import Record, read_record, write_record
from duel.errors import DamagedError, RunError
from duel.types import Player

log = logging.getLogger(__name__)
DAMAGED = "damaged-"  # prefix of a checkpoint's new name when it cannot be read


class Saves(Protocol):
    """The part of a policy that checkpoints use (protocol)."""

    def save(self, directory: Path) -> None:
        """Write the weights into `directory`."""

    def load(self, directory: Path) -> None:
        """Load the weights from `directory`."""

    def save_training_state(self, directory: Path) -> None:
        """Write optimizer state, counters and accumulated gradients into `directory`."""

    def load_training_state(self, directory: Path) -> None:
        """Load what `save_training_state` wrote into `directory`."""


@dataclass(frozen=True)
class CheckpointRecord(Record):
    """`checkpoint.json`. Schema 1 had no field `duel`, schema 2 no `sha256`."""

    SCHEMA: ClassVar[int] = 3

    rounds_done: int
    players: list[Player]
    duel: str | None  # version; None: before 0.1.0
    sha256: dict[str, str] = field(default_factory=dict)  # hex, by path in the checkpoint; empty: not recorded

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return the fields of a file of schema 1 or 2, without hashes; None for other schemas."""
        return {1: {**content, "duel": None}, 2: content}.get(schema)


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
        """The content of `checkpoint.json`. Raises RunError when it cannot be read."""
        return read_record(self.path / "checkpoint.json", CheckpointRecord)

    @property
    def resumable(self) -> bool:
        """Whether it has a training state, which resuming needs."""
        return (self.path / "training_state").is_dir()

    def weights(self, player: str) -> Path:
        """Return the directory of a player's weights."""
        return self.path / player

    def training_state(self, player: str) -> Path:
        """Return the directory of a player's training state."""
        return self.path / "training_state" / player

    def check(self, folder: Path) -> None:
        """Compare the files in one of its folders with their recorded hashes; older checkpoints have none.

        Raises DamagedError naming the first file that is missing or has other bytes.
        """
        inside = folder.relative_to(self.path).as_posix() + "/"
        for name, expected in self.record.sha256.items():
            if not name.startswith(inside):
                continue
            file = self.path / name
            if not file.is_file():
                raise DamagedError(f"{file} is missing; {self.name} was written with it")
            if files.sha256_of(file) != expected:
                raise DamagedError(f"{file} is damaged: its SHA-256 is not the one that it was written with")


def write_checkpoint(run: RunDirectory, rounds_done: int, players: Mapping[Player, Saves], keep: int) -> Checkpoint:
    """Write `ckpt-<rounds_done>` and return it; then remove the training states of all but the last `keep`."""
    checkpoint = Checkpoint(run.checkpoints / f"ckpt-{rounds_done}", rounds_done)
    files.clean_leftovers(run.checkpoints)
    with files.new_directory(checkpoint.path, durable=True) as directory:
        for name, player in players.items():
            for part, save in ((directory, player.save), (directory / "training_state", player.save_training_state)):
                (part / name).mkdir(parents=True)
                save(part / name)
        hashes = {
            path.relative_to(directory).as_posix(): files.sha256_of(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        }
        record = CheckpointRecord(rounds_done, sorted(players), duel.__version__, hashes)
        write_record(directory / "checkpoint.json", record)
    prune(run, keep)
    return checkpoint


def load_checkpoint(checkpoint: Checkpoint, players: Mapping[Player, Saves]) -> None:
    """Load weights and training state of all players.

    Raises DamagedError when a file cannot be read or is not the one that was written, RunError when the checkpoint
    lacks one of the players.
    """
    missing = sorted(players.keys() - set(checkpoint.record.players))
    if missing:
        held = ", ".join(checkpoint.record.players)
        raise RunError(f"{checkpoint.path} holds {held} and not {missing[0]}; expected all players that the run trains")
    for name in players:  # all before any is loaded: one player must not go on from another checkpoint
        checkpoint.check(checkpoint.weights(name))
        checkpoint.check(checkpoint.training_state(name))
    for name, player in players.items():
        player.load(checkpoint.weights(name))
        player.load_training_state(checkpoint.training_state(name))


def list_checkpoints(run: RunDirectory) -> list[Checkpoint]:
    """Return all complete checkpoints, sorted by rounds done."""
    found = files.numbered(run.checkpoints, "ckpt-")
    return [Checkpoint(path, done) for done, path in found.items() if (path / "checkpoint.json").is_file()]


def load_latest(run: RunDirectory, players: Mapping[Player, Saves]) -> Checkpoint | None:
    """Load the last checkpoint with a training state that can be read, and return it; None where there is none.

    Removes what killed writes left. Damaged later checkpoints are renamed to `damaged-ckpt-N`, and logged: their rounds
    are played again from the results of their stages.
    Raises DamagedError when there are checkpoints with a training state and none can be read; nothing is renamed then.
    """
    files.clean_leftovers(run.checkpoints)
    damaged: list[tuple[Checkpoint, DamagedError]] = []
    for checkpoint in reversed(list_checkpoints(run)):
        if not checkpoint.resumable:
            continue
        try:
            load_checkpoint(checkpoint, players)
        except DamagedError as error:
            damaged.append((checkpoint, error))
            continue
        for later, reason in damaged:
            aside = files.set_aside(later.path, DAMAGED)
            log.warning("%s is now %s; going on from %s: %s", later.name, aside.name, checkpoint.name, reason)
        return checkpoint
    if damaged:
        checkpoint, reason = damaged[0]
        raise DamagedError(
            f"{reason}; {checkpoint.name} is damaged, and no earlier checkpoint has a training state that can be read; "
            f"restore {checkpoint.path} from a backup, or move it away to begin with round 0: finished stages and "
            "images are found again"
        )
    return None


def prune(run: RunDirectory, keep: int) -> None:
    """Remove the training states of all but the last `keep` checkpoints; weights stay."""
    resumable = [checkpoint for checkpoint in list_checkpoints(run) if checkpoint.resumable]
    for checkpoint in resumable[:-keep]:
        files.remove_directory(checkpoint.path / "training_state", aside=run.checkpoints)
