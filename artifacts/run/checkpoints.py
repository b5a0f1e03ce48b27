"""Checkpoints on disk, written atomically: directories `ckpts/ckpt-N/`, where N is the number of rounds done.

ckpt-N/checkpoint.json          rounds done, players, Duel's version
ckpt-N/<player>/                weights, kept for every checkpoint
ckpt-N/training_state/<player>/ optimizer state, counters and accumulated gradients, kept for the last few checkpoints
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
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
    """`checkpoint.json`. Schema 1 had no field `duel`."""

    SCHEMA: ClassVar[int] = 2

    rounds_done: int
    players: list[Player]
    duel: str | None  # version; None: before 0.1.0

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return the fields of a schema 1 file with `duel` set to None; None for other schemas."""
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


def write_checkpoint(run: RunDirectory, rounds_done: int, players: Mapping[Player, Saves], keep: int) -> Checkpoint:
    """Write `ckpt-<rounds_done>` and return it; then remove the training states of all but the last `keep`."""
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
    """Load weights and training state of all players.

    Raises DamagedError when the checkpoint cannot be read, RunError when it lacks one of the players.
    """
    missing = sorted(players.keys() - set(checkpoint.record.players))
    if missing:
        held = ", ".join(checkpoint.record.players)
        raise RunError(f"{checkpoint.path} holds {held} and not {missing[0]}; expected all players that the run trains")
    for name, player in players.items():
        player.load(checkpoint.weights(name))
        player.load_training_state(checkpoint.training_state(name))


def list_checkpoints(run: RunDirectory) -> list[Checkpoint]:
    """Return all complete checkpoints, sorted by rounds done."""
    found = [path.parent for path in run.checkpoints.glob("ckpt-[0-9]*/checkpoint.json")]
    return sorted(
        (Checkpoint(path, int(path.name.removeprefix("ckpt-"))) for path in found),
        key=lambda checkpoint: checkpoint.rounds_done,
    )


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
        checkpoint, error = damaged[0]
        raise DamagedError(
            f"{error}; {checkpoint.name} is damaged, and no earlier checkpoint has a training state that can be read; "
            f"restore {checkpoint.path} from a backup, or move it away to begin with round 0: finished stages and "
            "images are found again"
        )
    return None


def prune(run: RunDirectory, keep: int) -> None:
    """Remove the training states of all but the last `keep` checkpoints; weights stay."""
    resumable = [checkpoint for checkpoint in list_checkpoints(run) if checkpoint.resumable]
    for checkpoint in resumable[:-keep]:
        files.remove_directory(checkpoint.path / "training_state", aside=run.checkpoints)
