"""One JSON file a checkpoint with every answer and grade, in the reference's fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duel.types import Completion, Grade, Question


def evaluation_json(
    checkpoint: str,
    questions: Sequence[Question],
    answers: Sequence[Sequence[Completion]],
    grades: Sequence[Sequence[Grade]],
) -> dict[str, Any]:
    """Return the results of one checkpoint.

    pass@1 of a question is the mean score of its graded answers; overall, the mean over questions. A question
    none of whose answers could be graded has null and does not count.
    """
    rows = [
        _question_json(question, row, graded) for question, row, graded in zip(questions, answers, grades, strict=True)
    ]
    known = [row["pass_at_1"] for row in rows if row["pass_at_1"] is not None]
    return {
        "checkpoint_name": checkpoint,
        "overall_pass_at_1": sum(known) / len(known) if known else None,
        "total_questions": len(rows),
        "ungraded": sum(score is None for row in rows for score in row["scores"]),
        "per_chart_results": rows,
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
        "completions": [answer.text for answer in answers],
        "extracted": [grade.extracted for grade in grades],
        "scores": scores,
        "pass_at_1": sum(known) / len(known) if known else None,
    }
