"""`record.json` of a round: its texts, similarities, rewards and store keys, and what the update did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from artifacts.run.records import Record
from duel.types import Attempt, Completion, Drawing, Player, UpdateReport

Image = Literal["drawing", "reconstruction"]


@dataclass(frozen=True)
class RecordedDrawing:
    """A drawn image and the name of its file beside `record.json`; a refused text has neither key nor file."""

    key: str | None
    seed: int
    file: str | None
    refusal: str | None


@dataclass(frozen=True)
class RecordedAttempt:
    """One way around the loop, with the length of the completion that it earned a reward for."""

    prompt: str
    drawing: RecordedDrawing
    description: str
    reconstruction: RecordedDrawing
    similarity: float | None
    reward: float | None
    tokens: int
    finished: bool
    ceiling: float | None = None

    def image(self, which: Image) -> RecordedDrawing:
        """Return the drawing or the reconstruction."""
        return self.drawing if which == "drawing" else self.reconstruction


@dataclass(frozen=True)
class RecordedGroup:
    """The attempts of one group, in the order of its completions."""

    attempts: list[RecordedAttempt]


@dataclass(frozen=True)
class RecordedRound(Record):
    """Everything that one round leaves behind, as it stands on disk. Schema 1 knew no gap of log-probabilities."""

    SCHEMA: ClassVar[int] = 2

    round: int
    player: Player
    draws_asked: int
    update: UpdateReport
    groups: list[RecordedGroup]

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return a file of schema 1 as it is: what it lacks has a default."""
        return content if schema == 1 else None

    @property
    def attempts(self) -> list[RecordedAttempt]:
        """The attempts of all groups."""
        return [attempt for group in self.groups for attempt in group.attempts]


def record_attempt(completion: Completion, attempt: Attempt, drawn: str | None, redrawn: str | None) -> RecordedAttempt:
    """Return what `record.json` says of an attempt; `drawn` and `redrawn` are the names of its images' files."""
    return RecordedAttempt(
        prompt=attempt.original.text,
        drawing=_record_drawing(attempt.original, drawn),
        description=attempt.reconstruction.text,
        reconstruction=_record_drawing(attempt.reconstruction, redrawn),
        similarity=attempt.similarity,
        reward=attempt.reward,
        tokens=len(completion.tokens),
        finished=completion.finished,
        ceiling=attempt.ceiling,
    )


def _record_drawing(drawing: Drawing, file: str | None) -> RecordedDrawing:
    return RecordedDrawing(drawing.key, drawing.seed, file, drawing.refusal)
