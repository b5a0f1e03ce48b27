"""Grading requests for an LLM judge, and parsing of its JSON verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from duel.rubrics import Rubrics, descriptive_keys
from duel.types import Grade, Question

ANSWERS_PER_REQUEST = 5  # descriptive answers to one question id, as in the official grader
REASONING_KEYS = [("extracted_answer", "score")]


@dataclass(frozen=True)
class GradingRequest:
    """One prompt for the judge: the answers it grades, and each answer's JSON keys (extracted answer, score)."""

    answers: list[tuple[Question, str]]
    prompt: str
    keys: list[tuple[str, str]]


def grading_requests(rubrics: Rubrics, pairs: Iterable[tuple[Question, str]]) -> Iterator[GradingRequest]:
    """Yield one request per reasoning answer, and one per five descriptive answers to the same question id."""
    by_id: dict[int, list[tuple[Question, str]]] = {}
    for question, text in pairs:
        if question.question_id is None:
            yield GradingRequest([(question, text)], rubrics.grade_reasoning(question, text), REASONING_KEYS)
        else:
            by_id.setdefault(question.question_id, []).append((question, text))
    for question_id, members in by_id.items():
        for start in range(0, len(members), ANSWERS_PER_REQUEST):
            some = members[start : start + ANSWERS_PER_REQUEST]
            triplets = [(text, question.ground_truth) for question, text in some]
            prompt = rubrics.grade_descriptive(question_id, triplets)
            yield GradingRequest(some, prompt, descriptive_keys(len(some)))


def read_verdict(text: str, keys: Sequence[tuple[str, str]]) -> list[Grade] | None:
    """Return one Grade per pair of keys from the judge's JSON; None when a key is missing or a score is not 0 or 1."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    grades = []
    for extracted, score in keys:
        # The official instructions spell this key in two ways.
        answer = found.get(extracted, found.get(extracted.replace("extracted", "extract")))
        if found.get(score) not in (0, 1) or (answer is None and extracted not in found):
            return None
        grades.append(Grade(float(found[score]), "" if answer is None else str(answer)))
    return grades


def by_completion(
    questions: Sequence[Question], answers: Sequence[Sequence[str]]
) -> Iterator[tuple[Question, Sequence[str]]]:
    """Yield (question, one answer): every question's first answer, then every question's second, and so on.

    Descriptive requests then grade answers about different charts, not samples of one.
    """
    for index in range(max(map(len, answers), default=0)):
        for question, row in zip(questions, answers, strict=True):
            yield question, row[index : index + 1]


def replace_surrogates(text: str) -> str:
    """Return `text` with lone surrogates, which UTF-8 cannot encode, replaced by question marks."""
    return text.encode("utf-8", "replace").decode()
