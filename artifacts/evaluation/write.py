"""Writes evaluations to the run directory: a file per proxy evaluation, and a file per checkpoint with its answers."""

from __future__ import annotations

from collections.abc import Container, Sequence

from artifacts.evaluation.records import AskedHow, CheckpointTest, ProxyRecord, QuestionResult, graded_means, mean_score
from artifacts.run.directory import RunDirectory
from artifacts.run.records import write_record
from duel.evaluations import ProxyEvaluation
from duel.settings import Settings
from duel.types import Completion, Grade, Question


def write_proxy(run: RunDirectory, evaluation: ProxyEvaluation) -> None:
    """Write `eval-NNNN.json`, replacing an existing one."""
    write_record(run.eval_logs / f"eval-{evaluation.rounds_done:04d}.json", ProxyRecord.of(evaluation))


def write_test(run: RunDirectory, test: CheckpointTest) -> None:
    """Write `ckpt-N.json`, replacing an existing one."""
    write_record(run.checkpoint_tests / f"{test.checkpoint_name}.json", test)


def checkpoint_test(
    rounds_done: int,
    questions: Sequence[Question],
    answers: Sequence[Sequence[Completion]],
    grades: Sequence[Sequence[Grade]],
    development: Container[str] = (),
    how: AskedHow | None = None,
    asked: str | None = None,
) -> CheckpointTest:
    """Return the results of one checkpoint, separate for strata and for the `development` charts (figure ids).

    pass@1 of a question is the mean score of its graded answers, and overall the mean over questions. A question
    without a graded answer has pass@1 None and does not count. An answer is invalid when it is empty or was cut at the
    token limit; it is graded like the others.
    """
    rows = [
        question_result(question, row, graded) for question, row, graded in zip(questions, answers, grades, strict=True)
    ]
    of_strata = [row for row in rows if row.stratum is not None]
    final = [row for row in rows if row.stratum is None and row.figure_id not in development]
    set_aside = [row for row in rows if row.figure_id in development]
    return CheckpointTest(
        rounds_done=rounds_done,
        checkpoint_name=f"ckpt-{rounds_done}",
        overall_pass_at_1=mean_score(graded_means(final)),
        total_questions=len(final),
        ungraded=sum(row.ungraded for row in final),
        invalid=sum(row.invalid for row in final),
        per_chart_results=final,
        development_pass_at_1=mean_score(graded_means(set_aside)),
        development_results=set_aside,
        how=how,
        asked=asked,
        strata_pass_at_1=_pass_at_1_of_strata(of_strata),
        strata_results=of_strata,
    )


def question_result(question: Question, answers: Sequence[Completion], grades: Sequence[Grade]) -> QuestionResult:
    """Return the answers to one question with their grades."""
    scores = [grade.score for grade in grades]
    return QuestionResult(
        figure_id=question.figure_id,
        image_path=question.image_path,
        question=question.question,
        ground_truth=question.ground_truth,
        kind=question.kind,
        answer_category=question.answer_category,
        question_id=question.question_id,
        completions=[answer.text for answer in answers],
        finished=[answer.finished for answer in answers],
        invalid=sum(not answer.finished or not answer.text.strip() for answer in answers),
        extracted=[grade.extracted for grade in grades],
        scores=scores,
        pass_at_1=mean_score(scores),
        stratum=question.stratum,
    )


def _pass_at_1_of_strata(rows: Sequence[QuestionResult]) -> dict[str, float | None]:
    results: dict[str, list[QuestionResult]] = {}
    for row in rows:
        if row.stratum is not None:
            results.setdefault(row.stratum, []).append(row)
    return {stratum: mean_score(graded_means(found)) for stratum, found in results.items()}


def asked_how(settings: Settings) -> AskedHow:
    """Return the evaluation settings that must be equal for results to be comparable."""
    evaluation, judge = settings.evaluation, settings.judge
    return AskedHow(
        evaluation_temperature=evaluation.temperature,
        evaluation_max_new_tokens=evaluation.max_new_tokens,
        evaluation_answer=evaluation.answer,
        judge_service=judge.service,
        judge_model=judge.model if judge.service != "exact" else None,
    )
