"""`record.json` of a round: its texts, similarities, rewards, store keys and update report, as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from artifacts.run.records import Record
from duel.types import Attempt, Completion, Drawing, Player, PromptParts, UpdateReport

Image = Literal["drawing", "reconstruction"]


@dataclass(frozen=True)
class RecordedDrawing:
    """A drawing and the name of its image file beside `record.json`; a refused text has neither key nor file."""

    key: str | None
    seed: int
    file: str | None
    refusal: str | None


@dataclass(frozen=True)
class RecordedAttempt:
    """One original with its description and reconstruction; `tokens` is the length of the rewarded completion."""

    prompt: str
    drawing: RecordedDrawing
    description: str
    reconstruction: RecordedDrawing
    similarity: float | None
    reward: float | None
    tokens: int
    finished: bool
    ceiling: float | None = None
    parts: PromptParts | None = None

    def image(self, which: Image) -> RecordedDrawing:
        """Return the drawing or the reconstruction."""
        return self.drawing if which == "drawing" else self.reconstruction


@dataclass(frozen=True)
class RecordedGroup:
    """The attempts of one group, in the order of its completions."""

    attempts: list[RecordedAttempt]


@dataclass(frozen=True)
class RecordedRound(Record):
    """The content of `record.json`.

    Schema 1 had no log-probability gap in `update`, schema 2 no anchor, schema 3 no parts of the adversary's reward,
    no past adversaries and no skipped updates, schema 4 no clusters of prompts.
    """

    SCHEMA: ClassVar[int] = 5

    round: int
    player: Player
    draws_asked: int
    update: UpdateReport
    groups: list[RecordedGroup]
    past_adversary: int | None = None  # wrote the prompts after this many rounds of its own; None: the present one

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return an older file unchanged, since the missing fields have defaults; None for other schemas."""
        return content if schema in (1, 2, 3, 4) else None

    @property
    def attempts(self) -> list[RecordedAttempt]:
        """The attempts of all groups."""
        return [attempt for group in self.groups for attempt in group.attempts]


def record_attempt(completion: Completion, attempt: Attempt, drawn: str | None, redrawn: str | None) -> RecordedAttempt:
    """Return the record of an attempt; `drawn` and `redrawn` are the file names of its two images (None: refused)."""
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
        parts=attempt.parts,
    )


def _record_drawing(drawing: Drawing, file: str | None) -> RecordedDrawing:
    return RecordedDrawing(drawing.key, drawing.seed, file, drawing.refusal)


def as_attempt(recorded: RecordedAttempt) -> Attempt:
    """Return the attempt that `record_attempt` recorded."""
    original, redrawn = recorded.drawing, recorded.reconstruction
    return Attempt(
        Drawing(recorded.prompt, original.seed, original.key, original.refusal),
        Drawing(recorded.description, redrawn.seed, redrawn.key, redrawn.refusal),
        recorded.similarity,
        recorded.reward,
        recorded.ceiling,
        recorded.parts,
    )
