"""Records of evaluations: `eval_logs/eval-NNNN.json` and `ckpt_tests/ckpt-N.json`, as dataclasses.

When adding a field, increase SCHEMA and fill the field in `upgrade`, so that older files stay readable. Files without
a number are schema 1, written before version 0.1.0. A field with a default needs neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from artifacts.run.records import BEFORE_SCHEMAS, Record
from duel.evaluations import CanaryResult, ProxyEvaluation

BEFORE_CANARY = 2  # schema of proxy evaluations without a canary
Unit = tuple[str | int | None, ...]  # identifies an image, prompt or question; evaluations are paired by it


@dataclass(frozen=True)
class ProxyRecord(ProxyEvaluation, Record):
    """`eval-NNNN.json`: a proxy evaluation on disk.

    Refused images and prompts have neither similarity nor reward; the properties omit them.
    """

    SCHEMA: ClassVar[int] = 3

    @classmethod
    def of(cls, evaluation: ProxyEvaluation) -> ProxyRecord:
        """Return the record of an evaluation."""
        return cls(**{field.name: getattr(evaluation, field.name) for field in dataclasses.fields(evaluation)})

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return the fields of a file of schema 2, without a canary, or 1, with one count of draws for both players.

        The oldest files have neither image names, texts nor counts of draws.
        """
        if schema == BEFORE_CANARY:
            return content
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
        """Distinct images needed by both players' evaluations, drawn or found in the store."""
        return sum(found.draws_asked for found in (self.base, self.adversary) if found is not None)

    @property
    def draws_made(self) -> int:
        """Images drawn for both players' evaluations rather than found in the store."""
        return sum(found.draws_made for found in (self.base, self.adversary) if found is not None)

    @property
    def similarities(self) -> list[float]:
        """One similarity per held-out image."""
        return _known(self.base.similarities) if self.base else []

    @property
    def adversary_rewards(self) -> list[float]:
        """One reward per prompt; empty without an adversary."""
        return _known(self.adversary.rewards) if self.adversary else []

    @property
    def adversary_similarities(self) -> list[float]:
        """One similarity per prompt; empty without an adversary."""
        return _known(self.adversary.similarities) if self.adversary else []

    @property
    def similarity_of(self) -> dict[Unit, float]:
        """Similarities by file name of the held-out image."""
        base = self.base
        return _named(base.images, base.similarities) if base else {}

    @property
    def canary(self) -> CanaryResult | None:
        """What was answered to the canary's questions; None where none were put."""
        return self.base.canary if self.base else None

    @property
    def canary_of(self) -> dict[Unit, float]:
        """Scores by the canary's question; empty where none were put."""
        return _named(self.canary.questions, self.canary.scores) if self.canary else {}

    @property
    def stratum_similarity_of(self) -> dict[str, dict[Unit, float]]:
        """Similarities by stratum, and by file name of its image."""
        strata = self.base.strata if self.base else []
        return {stratum.name: _named(stratum.images, stratum.similarities) for stratum in strata}

    @property
    def reward_of(self) -> dict[Unit, float]:
        """Rewards by index of the prompt's seed."""
        adversary = self.adversary
        return _named(range(len(adversary.rewards)), adversary.rewards) if adversary else {}


@dataclass(frozen=True)
class QuestionResult:
    """A checkpoint's answers to one question and their grades; a superset of the reference script's fields."""

    figure_id: str
    image_path: str  # relative to the data set's directory
    question: str
    ground_truth: str
    kind: str  # reasoning, descriptive
    answer_category: int  # 0: unknown
    question_id: int | None  # of a descriptive question
    completions: list[str]  # the answers
    finished: list[bool]  # False: cut at the token limit
    invalid: int  # answers that are empty or cut at the token limit; they are graded like the others
    extracted: list[str]  # the answer that the judge extracted from each completion
    scores: list[float | None]  # of the answers; None: could not be graded
    pass_at_1: float | None  # mean of the graded answers; None: no answer could be graded
    stratum: str | None = None  # the stratum of the chart, if it is in one

    @property
    def unit(self) -> Unit:
        """The question's identity, independent of its position in a file."""
        return (self.figure_id, self.kind, self.question_id, self.question, self.ground_truth)

    @property
    def graded(self) -> list[float]:
        """The scores of the answers that could be graded."""
        return _known(self.scores)

    @property
    def ungraded(self) -> int:
        """The number of answers that could not be graded."""
        return len(self.scores) - len(self.graded)


@dataclass(frozen=True)
class AskedHow:
    """The settings that must be equal for two evaluations to be comparable; the number of answers may differ.

    A field is named after its setting, `evaluation_answer` for `evaluation.answer`.
    """

    evaluation_temperature: float
    evaluation_max_new_tokens: int
    evaluation_answer: str
    judge_service: str
    judge_model: str | None  # None: the service has no models to choose from

    def differences(self, other: AskedHow) -> list[str]:
        """Return a text for each setting that differs: `name: value here and value there`."""
        pairs = (
            (field.name, getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self)
        )
        return [
            f"{name.replace('_', '.', 1)}: {ours!r} and {theirs!r}" for name, ours, theirs in pairs if ours != theirs
        ]


@dataclass(frozen=True)
class CheckpointTest(Record):
    """`ckpt-N.json`: all answers and grades of the checkpoint after N rounds; a superset of the reference's fields.

    Schema 2 had no `judge_note`.
    """

    SCHEMA: ClassVar[int] = 3

    rounds_done: int
    checkpoint_name: str
    overall_pass_at_1: float | None  # mean over the questions that were graded; None: no answer could be graded
    total_questions: int
    ungraded: int
    invalid: int
    per_chart_results: list[QuestionResult]  # of the questions that count for the result
    development_pass_at_1: float | None
    development_results: list[QuestionResult]  # of the questions for choosing a checkpoint
    how: AskedHow | None  # the evaluation settings; None: unknown, in older files
    asked: str | None  # digest of the questions and settings; an evaluation with an equal digest is not repeated
    strata_pass_at_1: dict[str, float | None] = field(default_factory=dict)  # by stratum
    strata_results: list[QuestionResult] = field(default_factory=list)  # of the questions about strata
    judge_note: str = ""  # how the judge was asked otherwise than usual, such as "without temperature"

    @property
    def all_ungraded(self) -> bool:
        """Whether there are answers and none could be graded: then the checkpoint is not evaluated."""
        rows = [*self.per_chart_results, *self.development_results, *self.strata_results]
        return bool(rows) and not any(row.graded for row in rows)

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return the fields of an older file; the oldest have no evaluation settings and no `finished`."""
        if schema != BEFORE_SCHEMAS:
            return content if schema == 2 else None
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
    """Return pass@1 of each question that has at least one graded answer."""
    return _known(result.pass_at_1 for result in results)


def mean_score(scores: Sequence[float | None]) -> float | None:
    """Return the mean of the scores that are not None; None if there are none."""
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
