"""Settings of evaluations and of reports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from duel import instructions
from duel.settings.sections import OPERATIONAL, Section


class EvaluationSettings(Section):
    """Evaluation on held-out images and on questions that training never sees."""

    every: int = Field(
        25, ge=1, description="rounds between proxy evaluations and checkpoints", json_schema_extra=OPERATIONAL
    )
    proxy_completions: int = Field(
        2, ge=1, description="descriptions per held-out image", json_schema_extra=OPERATIONAL
    )
    adversary_prompts: int = Field(
        16, ge=1, description="prompts per evaluation of the adversary", json_schema_extra=OPERATIONAL
    )
    canary_questions: int = Field(
        12,
        ge=0,
        description="questions of the test set with short answers that every proxy evaluation also puts to the base, "
        "twice each: whether it still answers; 0: none",
        json_schema_extra=OPERATIONAL,
    )
    completions: int = Field(10, ge=1, description="answers sampled per question", json_schema_extra=OPERATIONAL)
    temperature: float = Field(
        0.7, gt=0, description="temperature of question answering", json_schema_extra=OPERATIONAL
    )
    max_new_tokens: int = Field(512, ge=1, description="longest answer in tokens", json_schema_extra=OPERATIONAL)
    answer: str = Field(
        instructions.ANSWER,
        description="instruction for answering; {question} is replaced by the question",
        json_schema_extra=OPERATIONAL,
    )
    charts: int | None = Field(
        None,
        ge=1,
        description="number of charts, from the start of the test set; empty: all (925 of CharXiv; the reference "
        "experiment has 25)",
        json_schema_extra=OPERATIONAL,
    )
    charts_per_stratum: int | None = Field(
        0,
        ge=0,
        description="number of charts, from the start of each stratum, in proxy evaluations and questions; their "
        "results are kept separate; empty: all. Only the offline data set has strata",
        json_schema_extra=OPERATIONAL,
    )
    questions: Literal["reasoning", "descriptive", "both"] = Field(
        "reasoning", description="kinds of questions; descriptive: CharXiv only", json_schema_extra=OPERATIONAL
    )
    report: Literal["last", "best"] = Field(
        "last",
        description="the checkpoint that is reported as the result; last: that with the most rounds; best: that with "
        "the highest pass@1 on the development charts. It cannot be changed on resume, so that the rule is set before "
        "results are known",
    )
    development_charts: int = Field(
        0,
        ge=0,
        description="charts for choosing the checkpoint of `report = best`, from the end of the test set (of CharXiv: "
        "not among the reference's 25); their questions do not count in the result",
    )
    questions_at_once: int = Field(
        25, ge=1, description="questions per batch; bounds memory", json_schema_extra=OPERATIONAL
    )

    @model_validator(mode="after")
    def _question_has_a_place(self) -> EvaluationSettings:
        if "{question}" not in self.answer:
            raise ValueError(f"got {self.answer!r}, expected a text with {{question}} in it")
        return self

    @model_validator(mode="after")
    def _best_is_chosen_on_its_own_charts(self) -> EvaluationSettings:
        if (self.report == "best") != (self.development_charts > 0):
            raise ValueError(
                f"got report = {self.report} and development_charts = {self.development_charts}; expected charts to "
                "choose by for best, and none for last"
            )
        return self


class ReportSettings(Section):
    """Appearance of plots and reports."""

    theme: Literal["christmas", "plain"] = Field(
        "christmas", description="colours and decoration of plots and report", json_schema_extra=OPERATIONAL
    )
    moving_average: int = Field(
        10, ge=1, description="window of the moving averages in plots, in points", json_schema_extra=OPERATIONAL
    )
    embed: bool = Field(
        False,
        description="embed the gallery's thumbnails in report.html, so that it can be sent as one file; "
        "false: they are files in report_files/, loaded while scrolling",
        json_schema_extra=OPERATIONAL,
    )
