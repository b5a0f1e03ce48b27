"""Grading requests for an LLM judge, and parsing of its JSON verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from duel.rubrics import Rubrics, descriptive_keys
from duel.types import Grade, Question

ANSWERS_PER_REQUEST = 5  # descriptive answers to one question id, as in the official grader
REASONING_KEYS = [("extracted_answer", "score")]
SCORES = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}  # as text
MOST_OBJECTS = 1000  # places in a reply at which an object is looked for
LONGEST_SHOWN = 80  # characters
DECODER = json.JSONDecoder()


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
    """Return one Grade per pair of keys from the JSON in a judge's reply; None without JSON that has them.

    JSON in fences, or after a thinking block or other words, counts; of several objects the last. What is thought is no
    verdict, also where the reply was cut within it. A score is 0 or 1, as a number or as text.
    """
    for found in reversed(objects_in(without_thinking(text))):
        grades = _grades_of(found, keys)
        if grades is not None:
            return grades
    return None


def without_thinking(text: str) -> str:
    """Return what follows the last thinking block of a reply; what precedes one that does not end."""
    _, ended, rest = text.rpartition("</think>")
    return (rest if ended else text).partition("<think>")[0]


def objects_in(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in a text, in order, without those inside another."""
    found, place = [], text.find("{")
    for _ in range(MOST_OBJECTS):
        if place < 0:
            break
        try:
            value, end = DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            found.append(value)
        place = text.find("{", end)
    return found


def _grades_of(found: Mapping[str, Any], keys: Sequence[tuple[str, str]]) -> list[Grade] | None:
    grades = []
    for extracted, score in keys:
        # The official instructions spell this key in two ways.
        answer = found.get(extracted, found.get(extracted.replace("extracted", "extract")))
        value = read_score(found.get(score))
        if value is None or (answer is None and extracted not in found):
            return None
        grades.append(Grade(value, "" if answer is None else str(answer)))
    return grades


def read_score(value: object) -> float | None:
    """Return a score of 0 or 1, as a number or as text; None for anything else, `true` included."""
    if isinstance(value, str):
        return SCORES.get(value.strip())
    return float(value) if type(value) in (int, float) and value in (0, 1) else None


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


def shown(text: str) -> str:
    """Return the start of a reply, on one line, for a message."""
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_SHOWN else words[:LONGEST_SHOWN] + "…"
