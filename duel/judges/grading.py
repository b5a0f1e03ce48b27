"""What a judge is handed and what it hands back: sheets of answers to grade, and verdicts in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from duel.rubrics import Rubrics, descriptive_keys
from duel.types import Grade, Question

TOGETHER = 5  # descriptive answers of one question id on one sheet, as the official grader has them
REASONING_KEYS = [("extracted_answer", "score")]


@dataclass(frozen=True)
class Sheet:
    """One request: the answers it is about, the prompt, and the JSON keys of (extracted answer, score) for each."""

    answers: list[tuple[Question, str]]
    prompt: str
    keys: list[tuple[str, str]]


def sheets_of(rubrics: Rubrics, pairs: Iterable[tuple[Question, str]]) -> Iterator[Sheet]:
    """Yield one sheet for each reasoning answer, and one for up to five descriptive answers of one question id."""
    by_id: dict[int, list[tuple[Question, str]]] = {}
    for question, text in pairs:
        if question.question_id is None:
            yield Sheet([(question, text)], rubrics.grade_reasoning(question, text), REASONING_KEYS)
        else:
            by_id.setdefault(question.question_id, []).append((question, text))
    for question_id, members in by_id.items():
        for start in range(0, len(members), TOGETHER):
            some = members[start : start + TOGETHER]
            triplets = [(text, question.ground_truth) for question, text in some]
            yield Sheet(some, rubrics.grade_descriptive(question_id, triplets), descriptive_keys(len(some)))


def read_verdict(text: str, keys: Sequence[tuple[str, str]]) -> list[Grade] | None:
    """Return the grades in the judge's JSON, or None when a key is missing or a score is neither 0 nor 1."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    grades = []
    for extracted, score in keys:
        # The official instructions name this key in two ways.
        answer = found.get(extracted, found.get(extracted.replace("extracted", "extract")))
        if found.get(score) not in (0, 1) or (answer is None and extracted not in found):
            return None
        grades.append(Grade(float(found[score]), "" if answer is None else str(answer)))
    return grades


def by_completion(
    questions: Sequence[Question], answers: Sequence[Sequence[str]]
) -> Iterator[tuple[Question, Sequence[str]]]:
    """Yield the first answer to every question, then the second to every question: requests mix charts, not samples."""
    for index in range(max(map(len, answers), default=0)):
        for question, row in zip(questions, answers, strict=True):
            yield question, row[index : index + 1]


def clean(text: str) -> str:
    """Return a text that can be sent: what is no character (half a surrogate pair) becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
