"""The interface of a judge of answers."""

from collections.abc import Sequence
from typing import Protocol

from duel.types import Grade, Question


class Judge(Protocol):
    """Grades answers to questions about charts."""

    def grade_all(self, questions: Sequence[Question], answers: Sequence[Sequence[str]]) -> list[list[Grade]]:
        """Grade every answer to every question, (questions, answers).

        Raises JudgeError when the judge cannot be reached.
        """
