"""Settings of the image generator and the judge."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from duel.services.prices import AS_OF, IMAGES, JUDGES, TokenPrices
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
    dollars_per_image: float | None = Field(
        None,
        ge=0,
        description="price by which the spend ledger and the budget count (replicate); empty: the known price of "
        f"flux-schnell, 0.003 in {AS_OF}",
        json_schema_extra=OPERATIONAL,
    )
    attempts: int = Field(
        5,
        ge=1,
        description="purchases per draw that may end without an image, over all tries, runs and processes (replicate)",
        json_schema_extra=OPERATIONAL,
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
        if self.service == "replicate" and self.price is None:
            raise ValueError(f"dollars_per_image is empty; what does an image of {self.model} cost?")
        return self

    @property
    def price(self) -> float | None:
        """Dollars per image; None: not known."""
        return IMAGES.get(self.model) if self.dollars_per_image is None else self.dollars_per_image


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
    dollars_per_million_input: float | None = Field(
        None,
        ge=0,
        description="price of a million input tokens, by which the spend ledger and the budget count; empty: the "
        f"known price of the model in {AS_OF}",
        json_schema_extra=OPERATIONAL,
    )
    dollars_per_million_output: float | None = Field(
        None, ge=0, description="the same of a million output tokens", json_schema_extra=OPERATIONAL
    )
    deadline_seconds: float = Field(
        600, gt=0, description="time limit for grading one answer, retries included", json_schema_extra=OPERATIONAL
    )

    @property
    def prices(self) -> TokenPrices | None:
        """Dollars per million tokens; None: not known."""
        given, known = (self.dollars_per_million_input, self.dollars_per_million_output), JUDGES.get(self.model)
        known_prices = (None, None) if known is None else (known.input, known.output)
        paid, written = (known_prices[i] if price is None else price for i, price in enumerate(given))
        return None if paid is None or written is None else TokenPrices(paid, written)
