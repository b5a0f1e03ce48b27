"""Settings of the image generator and the judge."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from duel.settings.sections import OPERATIONAL, NameOrClass, Section
from duel.types import Scalar


class GeneratorSettings(Section):
    """The image generator: service, model, limits and price."""

    service: Annotated[str, NameOrClass("offline", "replicate", "diffusers")] = Field(
        "offline",
        description="offline: the chart renderer on this machine; replicate: a paid service; "
        "diffusers: a diffusion model on this machine; or package.module:Class",
    )
    model: str = Field(
        "black-forest-labs/flux-schnell",
        description="the service's model; for diffusers a hub name or local folder; unused offline",
    )
    version: str | None = Field(
        None,
        description="version (replicate) or revision (diffusers) to pin; empty: the official model's current version "
        "(replicate), main (diffusers)",
    )
    parameters: dict[str, Scalar] | None = Field(
        None,
        description="table of further inputs of the model, such as size and steps; for flux-schnell they override the "
        "defaults, which are those of the reference experiment",
    )
    prompt_limit: int | None = Field(
        None,
        ge=1,
        description="longest text that the model reads, in tokens; empty: the known limit of flux-schnell, or the "
        "tokenizer's limit (diffusers)",
    )
    concurrency: int = Field(8, ge=1, description="concurrent draws", json_schema_extra=OPERATIONAL)
    requests_per_minute: float = Field(
        600, gt=0, description="rate limit for creating predictions (replicate)", json_schema_extra=OPERATIONAL
    )
    deadline_seconds: float = Field(
        300, gt=0, description="time limit of one draw, retries included (replicate)", json_schema_extra=OPERATIONAL
    )
    dollars_per_image: float = Field(
        0.003, ge=0, description="price by which the spend ledger counts (replicate)", json_schema_extra=OPERATIONAL
    )
    batch_size: int = Field(
        4, ge=1, description="images generated in one batch (diffusers)", json_schema_extra=OPERATIONAL
    )

    @model_validator(mode="after")
    def _parameters_leave_the_draw_alone(self) -> GeneratorSettings:
        parameters = self.parameters or {}
        for name in ("prompt", "seed", "generator"):
            if name in parameters:
                raise ValueError(f"parameters holds {name!r}, which differs from draw to draw; remove it")
        if parameters.get("num_outputs", 1) != 1:
            raise ValueError(f"parameters.num_outputs is {parameters['num_outputs']!r}, expected 1: an image a draw")
        if self.service == "replicate" and self.prompt_limit is None and self.model != "black-forest-labs/flux-schnell":
            raise ValueError(f"prompt_limit is empty; how many text tokens does {self.model} read?")
        return self


class JudgeSettings(Section):
    """The judge, which grades answers."""

    service: Annotated[str, NameOrClass("exact", "openai")] = Field(
        "exact",
        description="exact: compares texts and numbers; openai: grades by CharXiv's rubrics, paid; "
        "or package.module:Class",
        json_schema_extra=OPERATIONAL,
    )
    model: str = Field(
        "gpt-4.1", min_length=1, description="the service's model; unused by exact", json_schema_extra=OPERATIONAL
    )
    concurrency: int = Field(8, ge=1, description="concurrent requests", json_schema_extra=OPERATIONAL)
    timeout_seconds: float = Field(60, gt=0, description="time limit of one request", json_schema_extra=OPERATIONAL)
    deadline_seconds: float = Field(
        600, gt=0, description="time limit for grading one answer, retries included", json_schema_extra=OPERATIONAL
    )
