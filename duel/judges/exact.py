"""Exact-match judge, without any service: equal text, or equal numbers within a relative tolerance."""

from __future__ import annotations

import re
from collections.abc import Sequence

from duel.types import Grade, Question

LONGEST = 3  # words of a ground truth that another right answer hardly says in other words
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
}


class ExactJudge:
    """Grades 1 for the same text or the same number within `tolerance` (relative); ignores case and punctuation."""

    def __init__(self, tolerance: float = 0.01) -> None:
        self.tolerance = tolerance

    def grade(self, question: Question, answers: Sequence[str]) -> list[Grade]:
        """Return one Grade per answer; the score is 0 or 1, never None. Graded is what `final_answer` returns."""
        finals = [final_answer(answer) for answer in answers]
        return [Grade(float(self._equal(question.ground_truth, final)), final) for final in finals]

    def grade_all(self, questions: Sequence[Question], answers: Sequence[Sequence[str]]) -> list[list[Grade]]:
        """Return a Grade for every answer to every question, shape (questions, answers per question)."""
        return [self.grade(question, row) for question, row in zip(questions, answers, strict=True)]

    def _equal(self, truth: str, answer: str) -> bool:
        expected, given = as_number(truth), as_number(answer)
        if expected is not None and given is not None:
            return abs(expected - given) <= self.tolerance * abs(expected)
        return normalise(truth) == normalise(answer)


def final_answer(text: str) -> str:
    """Return what follows the last `Answer:` (`instructions.REASON` asks for it); the whole text without one."""
    return re.split(r"\banswer:", text, flags=re.IGNORECASE)[-1].strip()


def grades_by_text(truth: str) -> bool:
    """Return whether equal text grades answers well: the ground truth is a number, or one to three words."""
    return as_number(truth) is not None or 1 <= len(normalise(truth).split()) <= LONGEST


def normalise(text: str) -> str:
    """Return a text in lower case without punctuation and articles, number words up to twelve as digits."""
    words = re.findall(r"[\w.+-]*\w", text.casefold())
    return " ".join(NUMBER_WORDS.get(word, word) for word in words if word not in ("a", "an", "the"))


def as_number(text: str) -> float | None:
    """Return the number that a text is (`3.`, `1,200`, `12 %`, `three`), or None when it is anything else."""
    bare = text.strip().casefold().rstrip(".%").strip().replace(",", "")
    bare = NUMBER_WORDS.get(bare, bare)
    return float(bare) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", bare) else None
