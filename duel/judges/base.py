"""`Judge`: the protocol of whatever grades answers to chart questions."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from duel.types import Grade, Question


class Judge(Protocol):
    """Grades answers to questions about charts against the ground truth."""

    def grade_all(self, questions: Sequence[Question], answers: Sequence[Sequence[str]]) -> list[list[Grade]]:
        """Return a Grade for every answer to every question, shape (questions, answers per question).

        A score is 0, 1, or None where no usable verdict was obtained. Raises JudgeError when the judge cannot be
        reached.

        """


@runtime_checkable
class Noted(Protocol):
    """A judge that has something to say about its grades; the note is kept with the results."""

    @property
    def note(self) -> str:
        """How it graded otherwise than it usually does; empty if it did not."""
