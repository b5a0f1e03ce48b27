"""Evaluations as they are kept: `eval_logs/eval-NNNN.json` and `ckpt_tests/ckpt-N.json`.

Whoever adds a field raises SCHEMA and says in `upgrade` what a file without it has; files of an older schema stay
readable. Files without a number are schema 1, written before version 0.1.0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from artifacts.run.records import BEFORE_SCHEMAS, Record
from duel.types import ProxyEvaluation

Unit = tuple[str | int | None, ...]  # names one image, prompt or question, so that evaluations are paired by it


@dataclass(frozen=True)
class ProxyRecord(ProxyEvaluation, Record):
    """`eval-NNNN.json`: a proxy evaluation as it is kept, and what is read off it.

    Refused images and prompts have no similarity and no reward; the properties leave them out.
    """

    SCHEMA: ClassVar[int] = 2

    @classmethod
    def of(cls, evaluation: ProxyEvaluation) -> ProxyRecord:
        """Return the record of an evaluation."""
        return cls(**{field.name: getattr(evaluation, field.name) for field in dataclasses.fields(evaluation)})

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return the fields of schema 1, which counted the draws made of both players together.

        Its oldest files name neither images nor texts, and count no draws.
        """
        if schema != BEFORE_SCHEMAS:
            return None
        base, adversary, made = content.get("base"), content.get("adversary"), content.get("draws_made", 0)
        return {
            "rounds_done": content["round"],
            "base": base and _base_of_schema_1(base, made),
            "adversary": adversary and _adversary_of_schema_1(adversary, 0 if base else made),
        }

    @property
    def draws_asked(self) -> int:
        """Distinct images that the two measurements needed, drawn for them or found in the store."""
        return sum(found.draws_asked for found in (self.base, self.adversary) if found is not None)

    @property
    def draws_made(self) -> int:
        """Images drawn for the two measurements rather than found in the store."""
        return sum(found.draws_made for found in (self.base, self.adversary) if found is not None)

    @property
    def similarities(self) -> list[float]:
        """One for each held-out image."""
        return _known(self.base.similarities) if self.base else []

    @property
    def adversary_rewards(self) -> list[float]:
        """One for each prompt; empty without an adversary."""
        return _known(self.adversary.rewards) if self.adversary else []

    @property
    def adversary_similarities(self) -> list[float]:
        """One for each prompt; empty without an adversary."""
        return _known(self.adversary.similarities) if self.adversary else []

    @property
    def similarity_of(self) -> dict[Unit, float]:
        """Similarities by the held-out image's file name."""
        base = self.base
        return _named(base.images, base.similarities) if base else {}

    @property
    def reward_of(self) -> dict[Unit, float]:
        """Rewards by the place of the prompt's seed."""
        adversary = self.adversary
        return _named(range(len(adversary.rewards)), adversary.rewards) if adversary else {}


@dataclass(frozen=True)
class QuestionResult:
    """What one checkpoint answered to one question; the reference's fields, and more."""

    figure_id: str
    image_path: str  # relative to the data set's directory
    question: str
    ground_truth: str
    kind: str  # reasoning, descriptive
    answer_category: int  # 0: not said
    question_id: int | None  # of a descriptive question
    completions: list[str]  # the answers
    finished: list[bool]  # False: cut at the token limit
    invalid: int  # answers that are empty, or cut at the token limit; graded all the same
    extracted: list[str]  # what the judge took for the answer
    scores: list[float | None]  # of the answers; None: could not be graded
    pass_at_1: float | None  # mean of the graded answers; None: no answer could be graded

    @property
    def unit(self) -> Unit:
        """Names the question, wherever it stands in a file."""
        return (self.figure_id, self.kind, self.question_id, self.question, self.ground_truth)

    @property
    def graded(self) -> list[float]:
        """The scores of the answers that could be graded."""
        return _known(self.scores)

    @property
    def ungraded(self) -> int:
        """How many answers could not be graded."""
        return len(self.scores) - len(self.graded)


@dataclass(frozen=True)
class AskedHow:
    """What must be equal for two answers' grades to mean the same; the number of answers need not be.

    A field is named as its setting, `evaluation_answer` for `evaluation.answer`.
    """

    evaluation_temperature: float
    evaluation_max_new_tokens: int
    evaluation_answer: str
    judge_service: str
    judge_model: str | None  # None: the service knows no models

    def differences(self, other: AskedHow) -> list[str]:
        """Return the settings that differ, in words: this one's value, then the other's."""
        pairs = (
            (field.name, getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self)
        )
        return [
            f"{name.replace('_', '.', 1)}: {ours!r} and {theirs!r}" for name, ours, theirs in pairs if ours != theirs
        ]


@dataclass(frozen=True)
class CheckpointTest(Record):
    """`ckpt-N.json`: every answer and grade of the checkpoint of N rounds, in the reference's fields."""

    SCHEMA: ClassVar[int] = 2

    rounds_done: int
    checkpoint_name: str
    overall_pass_at_1: float | None  # mean over the questions that were graded; None: no answer could be graded
    total_questions: int
    ungraded: int
    invalid: int
    per_chart_results: list[QuestionResult]  # of the final number
    development_pass_at_1: float | None
    development_results: list[QuestionResult]  # set aside for choosing a checkpoint
    how: AskedHow | None  # how questions were asked and graded; None: the file does not say
    asked: str | None  # digest of the questions and of how they were asked, so that equal evaluations are made once

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return the fields of schema 1, whose oldest files say neither how they were asked nor what was cut."""
        if schema != BEFORE_SCHEMAS:
            return None
        results, development = (
            [_question_of_schema_1(row) for row in content.get(name, [])]
            for name in ("per_chart_results", "development_results")
        )
        how = content.get("how")
        return {
            "rounds_done": int(content["checkpoint_name"].removeprefix("ckpt-")),
            "checkpoint_name": content["checkpoint_name"],
            "overall_pass_at_1": content["overall_pass_at_1"],
            "total_questions": len(results),
            "ungraded": sum(score is None for row in results for score in row["scores"]),
            "invalid": sum(row["invalid"] for row in results),
            "per_chart_results": results,
            "development_pass_at_1": content.get("development_pass_at_1"),
            "development_results": development,
            "how": how and {name.replace(".", "_", 1): value for name, value in how.items()},
            "asked": content.get("asked"),
        }


def graded_means(results: Sequence[QuestionResult]) -> list[float]:
    """Return pass@1 of each question that has a graded answer."""
    return _known(result.pass_at_1 for result in results)


def mean_score(scores: Sequence[float | None]) -> float | None:
    """Return the mean of the scores that are known; None where none is."""
    known = _known(scores)
    return sum(known) / len(known) if known else None


def _base_of_schema_1(base: Mapping[str, Any], draws_made: int) -> dict[str, Any]:
    names = [str(place) for place in range(len(base["similarities"]))]
    return {"images": names, "draws_asked": 0, "draws_made": draws_made, **base}


def _adversary_of_schema_1(adversary: Mapping[str, Any], draws_made: int) -> dict[str, Any]:
    texts = [""] * len(adversary["rewards"])
    similarities = [None] * len(texts)
    counts = {"draws_asked": 0, "draws_made": draws_made}
    return {"prompts": texts, "descriptions": texts, "similarities": similarities, **counts, **adversary}


def _question_of_schema_1(row: Mapping[str, Any]) -> dict[str, Any]:
    texts, scores = row["completions"], row["scores"]
    finished = row.get("finished") or [True] * len(texts)
    return {
        "image_path": "",
        "kind": "reasoning",
        "answer_category": 0,
        "question_id": None,
        "extracted": [""] * len(texts),
        **row,
        "finished": finished,
        "invalid": sum(not ended or not text.strip() for text, ended in zip(texts, finished, strict=True)),
        "pass_at_1": mean_score(scores),
    }


def _named(names: Iterable[str | int], values: Sequence[float | None]) -> dict[Unit, float]:
    return {(name,): value for name, value in zip(names, values, strict=True) if value is not None}


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
