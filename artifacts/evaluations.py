"""What evaluations found: proxy evaluations of `eval_logs/` and question answering of `ckpt_tests/`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from artifacts.run import RunDirectory
from duel.errors import RunError
from duel.statistics import Interval, mean_interval, proportion_interval

Unit = tuple[str | int | None, ...]  # names one image, prompt or question, so that evaluations are paired by it


@dataclass(frozen=True)
class ProxyEvaluation:
    """`eval-N.json`: how well held-out images come back, and what fresh prompts earn, after N rounds."""

    rounds_done: int
    similarities: list[float]  # one a held-out image
    adversary_rewards: list[float]  # one a prompt; empty without an adversary
    adversary_similarities: list[float]
    draws_asked: int  # 0 where the file does not say
    draws_made: int
    similarity_of: dict[Unit, float] = field(default_factory=dict)  # by the held-out image's file name
    reward_of: dict[Unit, float] = field(default_factory=dict)  # by the place of the prompt's seed
    strata: dict[str, dict[Unit, float]] = field(default_factory=dict)  # similarities, by stratum and file name


@dataclass(frozen=True)
class QuestionResult:
    """What one checkpoint answered to one question."""

    figure_id: str
    question: str
    ground_truth: str
    kind: str  # reasoning, descriptive
    answer_category: int  # 0: not said
    question_id: int | None  # of a descriptive question
    scores: list[float]  # of the graded answers
    answers: int
    invalid: int  # answers that are empty, or cut at the token limit; graded all the same
    ungraded: int

    @property
    def unit(self) -> Unit:
        """Names the question, wherever it stands in a file."""
        return (self.figure_id, self.kind, self.question_id, self.question, self.ground_truth)

    @property
    def pass_at_1(self) -> float | None:
        """Mean of the graded answers; None: no answer could be graded."""
        return sum(self.scores) / len(self.scores) if self.scores else None


@dataclass(frozen=True)
class CheckpointTest:
    """`ckpt-N.json`: pass@1 of each question at the checkpoint of N rounds."""

    rounds_done: int
    name: str
    pass_at_1: float | None  # None: no answer could be graded
    questions: list[float]  # pass@1 of each that was graded
    results: list[QuestionResult] = field(default_factory=list)  # of the final number
    development: list[QuestionResult] = field(default_factory=list)  # set aside for choosing a checkpoint
    how: dict[str, Any] | None = None  # how questions were asked and graded; None: the file does not say
    strata: dict[str, list[QuestionResult]] = field(default_factory=dict)  # of charts measured apart, by stratum


def read_proxy_evaluations(run: RunDirectory) -> list[ProxyEvaluation]:
    """Return the proxy evaluations by rounds done; raises RunError when one is damaged."""
    found = []
    for path in run.eval_logs.glob("eval-*.json"):
        content = _read(path)
        base, adversary = content.get("base") or {}, content.get("adversary") or {}
        similarities, rewards = base.get("similarities") or [], adversary.get("rewards") or []
        images = base.get("images") or range(len(similarities))
        found.append(
            ProxyEvaluation(
                rounds_done=content["round"],
                similarities=_numbers(similarities),
                adversary_rewards=_numbers(rewards),
                adversary_similarities=_numbers(adversary.get("similarities")),
                draws_asked=content.get("draws_asked", 0),
                draws_made=content.get("draws_made", 0),
                similarity_of=_named(images, similarities),
                reward_of=_named(range(len(rewards)), rewards),
                strata={
                    name: _named(stratum["images"], stratum["similarities"])
                    for name, stratum in base.get("strata", {}).items()
                },
            )
        )
    return sorted(found, key=lambda evaluation: evaluation.rounds_done)


def read_checkpoint_tests(run: RunDirectory) -> list[CheckpointTest]:
    """Return the tests of all checkpoints by rounds done; raises RunError when one is damaged."""
    found = []
    for path in run.checkpoint_tests.glob("ckpt-*.json"):
        content = _read(path)
        results = [_question_result(row) for row in content["per_chart_results"]]
        strata: dict[str, list[QuestionResult]] = {}
        for row in content.get("strata_results", []):
            strata.setdefault(row["stratum"], []).append(_question_result(row))
        found.append(
            CheckpointTest(
                rounds_done=int(path.stem.removeprefix("ckpt-")),
                name=content["checkpoint_name"],
                pass_at_1=content["overall_pass_at_1"],
                questions=_numbers(result.pass_at_1 for result in results),
                results=results,
                development=[_question_result(row) for row in content.get("development_results", [])],
                how=content.get("how"),
                strata=strata,
            )
        )
    return sorted(found, key=lambda test: test.rounds_done)


def interval(values: Sequence[float]) -> Interval:
    """Return `mean_interval` of similarities or rewards, cut to what these can be; computed once for equal ones."""
    return _interval(tuple(values))


def similarity_interval(values: Sequence[float]) -> Interval:
    """Return the interval of a mean similarity, which lies in [-1, 1]."""
    return interval(values).within(-1, 1)


def reward_interval(values: Sequence[float]) -> Interval:
    """Return the interval of the adversary's mean reward, 1 - similarity, which lies in [0, 2]."""
    return interval(values).within(0, 2)


def pass_interval(values: Sequence[float]) -> Interval:
    """Return `proportion_interval` of the questions' pass@1; computed once for equal ones."""
    return _pass_interval(tuple(values))


@cache
def _interval(values: tuple[float, ...]) -> Interval:
    return mean_interval(values).within(-1.0, 2.0)  # a similarity lies in [-1, 1], a reward of 1 - similarity in [0, 2]


@cache
def _pass_interval(values: tuple[float, ...]) -> Interval:
    return proportion_interval(values)


def _question_result(row: dict[str, Any]) -> QuestionResult:
    texts: list[str] = row["completions"]
    finished: list[bool] = row.get("finished") or [True] * len(texts)
    scores: list[float | None] = row["scores"]
    return QuestionResult(
        figure_id=row["figure_id"],
        question=row["question"],
        ground_truth=row["ground_truth"],
        kind=row.get("kind", "reasoning"),
        answer_category=row.get("answer_category", 0),
        question_id=row.get("question_id"),
        scores=_numbers(scores),
        answers=len(scores),
        invalid=sum(not ended or not text.strip() for text, ended in zip(texts, finished, strict=True)),
        ungraded=sum(score is None for score in scores),
    )


def _named(names: Iterable[str | int], values: Sequence[float | None]) -> dict[Unit, float]:
    return {(name,): float(value) for name, value in zip(names, values, strict=True) if value is not None}


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values or [] if value is not None]


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}; remove it and evaluate again") from None
    return content
