"""Table of all evaluations of a run: each checkpoint's results with intervals, and differences from the first one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from artifacts.evaluation.comparison import Comparison, compare_proxies, compare_tests
from artifacts.evaluation.read import Evaluations, reward_interval, similarity_interval
from artifacts.evaluation.records import CheckpointTest, ProxyRecord, QuestionResult, graded_means
from artifacts.evaluation.selection import reported_checkpoint
from duel.statistics import Interval, proportion_interval

CATEGORIES = {1: "text in chart", 2: "text in general", 3: "number in chart", 4: "number in general"}


@dataclass(frozen=True)
class GroupResult:
    """A checkpoint's pass@1 over a group of questions."""

    group: str  # all questions, a kind of question, or an answer category
    questions: int
    pass_at_1: Interval | None  # None: no answer could be graded
    answers: int
    invalid: int  # answers that are empty or cut at the token limit; they are graded like the others
    ungraded: int  # answers without a usable verdict; they count in no mean
    against_first: Comparison | None  # None for the first checkpoint


@dataclass(frozen=True)
class EvaluationRow:
    """All evaluations after `rounds_done` rounds; None for what was not measured."""

    rounds_done: int
    reported: bool  # whether this checkpoint's pass@1 is the run's result
    questions: GroupResult | None
    by_kind: list[GroupResult]  # reasoning, descriptive; empty if there is only one kind
    by_category: list[GroupResult]  # answer categories of reasoning questions; empty if there is only one
    similarity: Interval | None
    similarity_change: Comparison | None  # from the run's first evaluation, like the changes below
    adversary_reward: Interval | None
    adversary_reward_change: Comparison | None
    adversary_similarity: Interval | None
    canary: Interval | None = None  # mean score over the canary's questions
    canary_change: Comparison | None = None
    canary_unfinished: Interval | None = None  # share of its answers that were cut at the token limit


def evaluation_table(evaluations: Evaluations) -> list[EvaluationRow]:
    """Return one row per number of rounds with an evaluation.

    All intervals and comparisons of the run are computed here, which takes time: call it once and pass the rows on.
    """
    proxies = {found.rounds_done: found for found in evaluations.proxies}
    tests = {found.rounds_done: found for found in evaluations.tests}
    reported = reported_checkpoint(evaluations)
    rows = []
    for done in sorted(proxies.keys() | tests.keys()):
        row = EvaluationRow(done, False, None, [], [], None, None, None, None, None)
        if done in proxies:
            row = _with_proxies(row, next(iter(proxies.values())), proxies[done])
        if done in tests:
            is_reported = reported is not None and reported.test.rounds_done == done
            row = replace(_with_questions(row, next(iter(tests.values())), tests[done]), reported=is_reported)
        rows.append(row)
    return rows


def _with_proxies(row: EvaluationRow, first: ProxyRecord, found: ProxyRecord) -> EvaluationRow:
    changes = {} if found is first else {change.measure: change for change in compare_proxies(first, found)}
    return replace(
        row,
        similarity=similarity_interval(found.similarities) if found.similarities else None,
        similarity_change=changes.get("held-out similarity"),
        adversary_reward=reward_interval(found.adversary_rewards) if found.adversary_rewards else None,
        adversary_reward_change=changes.get("adversary's reward"),
        adversary_similarity=similarity_interval(found.adversary_similarities)
        if found.adversary_similarities
        else None,
        canary=proportion_interval(found.canary.scores) if found.canary else None,
        canary_change=changes.get("canary"),
        canary_unfinished=proportion_interval(found.canary.unfinished) if found.canary else None,
    )


def _with_questions(row: EvaluationRow, first: CheckpointTest, found: CheckpointTest) -> EvaluationRow:
    kinds = list(dict.fromkeys(result.kind for result in found.per_chart_results))
    categories = sorted({result.answer_category for result in found.per_chart_results if result.answer_category})
    return replace(
        row,
        questions=_group("all", first, found, lambda _: True),
        by_kind=[_group(kind, first, found, _of_kind(kind)) for kind in kinds] if len(kinds) > 1 else [],
        by_category=[
            _group(CATEGORIES.get(category, f"category {category}"), first, found, _of_category(category))
            for category in categories
        ]
        if len(categories) > 1
        else [],
    )


def _group(
    name: str, first: CheckpointTest, found: CheckpointTest, chosen: Callable[[QuestionResult], bool]
) -> GroupResult:
    results = [result for result in found.per_chart_results if chosen(result)]
    known = graded_means(results)
    return GroupResult(
        group=name,
        questions=len(results),
        pass_at_1=proportion_interval(known) if known else None,
        answers=sum(len(result.scores) for result in results),
        invalid=sum(result.invalid for result in results),
        ungraded=sum(result.ungraded for result in results),
        against_first=None if found is first else compare_tests(first, found, chosen),
    )


def _of_kind(kind: str) -> Callable[[QuestionResult], bool]:
    return lambda result: result.kind == kind


def _of_category(category: int) -> Callable[[QuestionResult], bool]:
    return lambda result: result.answer_category == category
