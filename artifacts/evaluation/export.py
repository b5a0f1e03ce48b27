"""Export of a run's evaluations as two tidy tables, in CSV and Parquet.

results          one row per checkpoint and question, held-out image or prompt seed
results_summary  one row per checkpoint, measure and group of questions, with intervals and p-values
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from artifacts.evaluation.comparison import Comparison
from artifacts.evaluation.read import Evaluations
from artifacts.evaluation.records import QuestionResult
from artifacts.evaluation.table import EvaluationRow, GroupResult
from artifacts.run import files
from artifacts.run.directory import RunDirectory
from duel.statistics import Interval

RESULTS = {
    "run": "string", "seed": "Int64", "rounds": "Int64", "base_rounds": "Int64", "measure": "string", "split": "string",
    "unit": "string", "question": "string", "kind": "string", "answer_category": "Int64", "question_id": "Int64",
    "value": "float64", "answers": "Int64", "graded": "Int64", "ungraded": "Int64", "invalid": "Int64",
}  # fmt: skip
SUMMARY = {
    "run": "string", "seed": "Int64", "rounds": "Int64", "base_rounds": "Int64", "measure": "string", "group": "string",
    "reported": "boolean", "units": "Int64", "mean": "float64", "low": "float64", "high": "float64",
    "answers": "Int64", "ungraded": "Int64", "invalid": "Int64", "against": "string", "paired_units": "Int64",
    "difference": "float64", "difference_low": "float64", "difference_high": "float64", "p_value": "float64",
    "deviation": "float64",
}  # fmt: skip


def write_results(evaluations: Evaluations, rows: list[EvaluationRow]) -> None:
    """Write both tables to the run directory as CSV and Parquet; `rows` come from `evaluation_table`."""
    run = evaluations.run
    for name, frame in (("results", results_frame(evaluations)), ("results_summary", summary_frame(run, rows))):
        files.write_bytes(run.path / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n").encode())
        files.write_with(run.path / f"{name}.parquet", partial(frame.to_parquet, index=False))


def results_frame(evaluations: Evaluations) -> pd.DataFrame:
    """Return one row per checkpoint and unit; `value` is pass@1 of a question, a similarity or a reward."""
    found = (*_questions(evaluations), *_proxies(evaluations))
    rows = [{**_run(evaluations.run, row["rounds"]), **row} for row in found]
    return _frame(rows, RESULTS)


def summary_frame(run: RunDirectory, rows: list[EvaluationRow]) -> pd.DataFrame:
    """Return one row per checkpoint, measure and group, with the numbers that reports show."""
    found = [
        {**_run(run, row.rounds_done), "rounds": row.rounds_done, **measured}
        for row in rows
        for measured in _summary(row)
    ]
    return _frame(found, SUMMARY)


def _questions(evaluations: Evaluations) -> Iterator[dict[str, Any]]:
    for test in evaluations.tests:
        splits = {"final": test.per_chart_results, "development": test.development_results}
        for result in test.strata_results:
            splits.setdefault(f"stratum {result.stratum}", []).append(result)
        for split, results in splits.items():
            yield from ({"rounds": test.rounds_done, "split": split, **_question(result)} for result in results)


def _question(result: QuestionResult) -> dict[str, Any]:
    return {
        "measure": "pass@1",
        "unit": result.figure_id,
        "question": result.question.encode("utf-8", "replace").decode(),  # UTF-8 cannot encode lone surrogates
        "kind": result.kind,
        "answer_category": result.answer_category,
        "question_id": result.question_id,
        "value": result.pass_at_1,
        "answers": len(result.scores),
        "graded": len(result.graded),
        "ungraded": result.ungraded,
        "invalid": result.invalid,
    }


def _proxies(evaluations: Evaluations) -> Iterator[dict[str, Any]]:
    for found in evaluations.proxies:
        for measure, split, values in (
            ("similarity", "held-out", found.similarity_of),
            ("adversary_reward", "fresh prompts", found.reward_of),
            ("canary", "held-out", found.canary_of),
            *(("similarity", f"stratum {name}", values) for name, values in found.stratum_similarity_of.items()),
        ):
            for unit, value in values.items():
                name = str(unit[0]).encode("utf-8", "replace").decode()  # half a surrogate pair is no UTF-8
                yield {
                    "rounds": found.rounds_done, "measure": measure, "split": split, "unit": name, "value": value,
                }  # fmt: skip


def _summary(row: EvaluationRow) -> Iterator[dict[str, Any]]:
    if row.questions is not None:
        for result in (row.questions, *row.by_kind, *row.by_category):
            yield {"reported": row.reported, **_group(result)}
    for measure, interval, change in (
        ("similarity", row.similarity, row.similarity_change),
        ("adversary_reward", row.adversary_reward, row.adversary_reward_change),
        ("canary", row.canary, row.canary_change),
        ("canary_unfinished", row.canary_unfinished, None),
    ):
        if interval is not None:
            yield {"measure": measure, "group": "all", **_interval(interval), **_change(change)}


def _group(result: GroupResult) -> dict[str, Any]:
    counts = {
        "units": result.questions, "answers": result.answers, "ungraded": result.ungraded, "invalid": result.invalid,
    }  # fmt: skip
    found = {} if result.pass_at_1 is None else _interval(result.pass_at_1)
    return {"measure": "pass@1", "group": result.group, **counts, **found, **_change(result.against_first)}


def _interval(found: Interval, mean: str = "mean", low: str = "low", high: str = "high") -> dict[str, float]:
    """Return mean and bounds under the given column names; without the bounds where one value has none."""
    return {mean: found.mean, **({low: found.low, high: found.high} if found.bounded else {})}


def _change(found: Comparison | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "against": found.before,
        "paired_units": found.n,
        **_interval(found.difference, "difference", "difference_low", "difference_high"),
        "p_value": found.p_value,
        "deviation": found.deviation,
    }


def _run(run: RunDirectory, rounds: int) -> dict[str, Any]:
    return {
        "run": run.name,
        "seed": run.settings.seed,
        "base_rounds": run.settings.schedule.turns_of("base", rounds),
    }


def _frame(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
