"""One JSON file a checkpoint with every answer and grade, in the reference's fields."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from duel.settings import Settings
from duel.types import Completion, Grade, Question


def evaluation_json(
    checkpoint: str,
    questions: Sequence[Question],
    answers: Sequence[Sequence[Completion]],
    grades: Sequence[Sequence[Grade]],
    development: Container[str] = (),
) -> dict[str, Any]:
    """Return the results of one checkpoint; strata, and the charts of `development` (figure ids), stand apart.

    pass@1 of a question is the mean score of its graded answers; overall, the mean over questions. A question
    none of whose answers could be graded has null and does not count. An answer is invalid when it is empty or
    was cut at the token limit; it is graded all the same.
    """
    rows = [
        _question_json(question, row, graded) for question, row, graded in zip(questions, answers, grades, strict=True)
    ]
    strata = [row for row in rows if row["stratum"] is not None]
    final = [row for row in rows if row["stratum"] is None and row["figure_id"] not in development]
    apart = [row for row in rows if row["figure_id"] in development]
    found: dict[str, Any] = {
        "checkpoint_name": checkpoint,
        "overall_pass_at_1": _mean(final),
        "total_questions": len(final),
        "ungraded": sum(score is None for row in final for score in row["scores"]),
        "invalid": sum(row["invalid"] for row in final),
        "per_chart_results": final,
    }
    if strata:
        names = dict.fromkeys(row["stratum"] for row in strata)
        found["strata_pass_at_1"] = {name: _mean([row for row in strata if row["stratum"] == name]) for name in names}
        found["strata_results"] = strata
    if apart:
        found |= {"development_pass_at_1": _mean(apart), "development_results": apart}
    return found


def asked_how(settings: Settings) -> dict[str, Any]:
    """Return what must be equal for two answers' grades to mean the same; the number of answers need not be."""
    evaluation, judge = settings.evaluation, settings.judge
    return {
        "evaluation.temperature": evaluation.temperature,
        "evaluation.max_new_tokens": evaluation.max_new_tokens,
        "evaluation.answer": evaluation.answer,
        "judge.service": judge.service,
        "judge.model": judge.model if judge.service != "exact" else None,
    }


def _question_json(question: Question, answers: Sequence[Completion], grades: Sequence[Grade]) -> dict[str, Any]:
    scores = [grade.score for grade in grades]
    known = [score for score in scores if score is not None]
    return {
        "figure_id": question.figure_id,
        "image_path": question.image_path,
        "question": question.question,
        "ground_truth": question.ground_truth,
        "kind": question.kind,
        "answer_category": question.answer_category,
        "question_id": question.question_id,
        "stratum": question.stratum,
        "completions": [answer.text for answer in answers],
        "finished": [answer.finished for answer in answers],
        "invalid": sum(not answer.finished or not answer.text.strip() for answer in answers),
        "extracted": [grade.extracted for grade in grades],
        "scores": scores,
        "pass_at_1": sum(known) / len(known) if known else None,
    }


def _mean(rows: Sequence[dict[str, Any]]) -> float | None:
    known = [row["pass_at_1"] for row in rows if row["pass_at_1"] is not None]
    return sum(known) / len(known) if known else None
