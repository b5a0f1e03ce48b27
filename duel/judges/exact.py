"""Exact-match judge, without any service: the same text, or the same number as people write it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from duel.judges.numbers import NUMBER_WORDS, SIGNS, read_quantity
from duel.types import Grade, Question

LONGEST = 3  # words of a ground truth that another right answer hardly says in other words


class ExactJudge:
    """Grades 1 for the same text, case, punctuation and articles aside, or the same number, however it is written.

    There is no tolerance: 2003 is wrong for 2010, and 0.333 for 0.33. A unit counts where both sides have one.
    """

    def grade(self, question: Question, answers: Sequence[str]) -> list[Grade]:
        """Return one Grade per answer; the score is 0 or 1, never None. Graded is what `final_answer` returns."""
        finals = [final_answer(answer) for answer in answers]
        return [Grade(float(equal(question.ground_truth, final)), final) for final in finals]

    def grade_all(self, questions: Sequence[Question], answers: Sequence[Sequence[str]]) -> list[list[Grade]]:
        """Return a Grade for every answer to every question, shape (questions, answers per question)."""
        return [self.grade(question, row) for question, row in zip(questions, answers, strict=True)]


def equal(truth: str, answer: str) -> bool:
    """Return whether two texts are the same number or the same words."""
    expected, given = read_quantity(truth), read_quantity(answer)
    if expected is not None and given is not None:
        return expected.equals(given)
    return normalise(truth) == normalise(answer)


def final_answer(text: str) -> str:
    """Return what follows the last `Answer:` (`instructions.REASON` asks for it); the whole text without one."""
    return re.split(r"\banswer:", text, flags=re.IGNORECASE)[-1].strip()


def grades_by_text(truth: str) -> bool:
    """Return whether equal text grades answers well: the ground truth is a number, or one to three words."""
    return read_quantity(truth) is not None or 1 <= len(normalise(truth).split()) <= LONGEST


def normalise(text: str) -> str:
    """Return a text in lower case without punctuation and articles, number words up to twelve as digits."""
    words = re.findall(r"[\w.+-]*\w", text.casefold().translate(SIGNS))
    return " ".join(NUMBER_WORDS.get(word, word) for word in words if word not in ("a", "an", "the"))
