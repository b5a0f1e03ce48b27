"""What all sections of settings have in common, and the sections of the services: who draws, who grades."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from duel.types import Scalar

OPERATIONAL: dict[str, Any] = {"operational": True}
PLUGIN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")  # package.module:Class


class Section(BaseModel):
    """Base of all settings: unknown keys are refused, values cannot be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class NameOrClass:
    """The type of a setting that takes one of these names, or a class of the user's own: `Annotated[str, this]`."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def check(self, value: str) -> str:
        """Return the value; raises ValueError when it is neither."""
        if value not in self.names and not is_plugin(value):
            raise ValueError(f"expected {', '.join(self.names)}, or a class of your own as package.module:Class")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"enum": list(self.names)}, handler(schema)]}  # the names, for forms and the settings page


def is_plugin(value: str) -> bool:
    """Return whether a setting names a class of the user's own, as package.module:Class."""
    return PLUGIN.fullmatch(value) is not None


class GeneratorSettings(Section):
    """Which service draws, with what, how fast, and at what price."""

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
        None, description="pinned version (replicate) or revision (diffusers); empty: the official model's, main"
    )
    parameters: dict[str, Scalar] | None = Field(
        None,
        description="a table of what else the model takes, such as size and steps; it overrides the reference's "
        "values, which flux-schnell has by default",
    )
    prompt_limit: int | None = Field(
        None,
        ge=1,
        description="text tokens the model reads; empty: known for flux-schnell, the tokenizer's for diffusers",
    )
    concurrency: int = Field(8, ge=1, description="draws under way at once", json_schema_extra=OPERATIONAL)
    requests_per_minute: float = Field(
        600, gt=0, description="predictions created in a minute, at most (replicate)", json_schema_extra=OPERATIONAL
    )
    deadline_seconds: float = Field(
        300, gt=0, description="one draw may take so long, retries included (replicate)", json_schema_extra=OPERATIONAL
    )
    dollars_per_image: float = Field(
        0.003, ge=0, description="price that the spend ledger counts with (replicate)", json_schema_extra=OPERATIONAL
    )
    batch_size: int = Field(
        4, ge=1, description="images drawn at once on this machine (diffusers)", json_schema_extra=OPERATIONAL
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
    """Who grades answers."""

    service: Annotated[str, NameOrClass("exact", "openai")] = Field(
        "exact",
        description="exact: equal texts or numbers; openai: CharXiv's rubrics, paid; or package.module:Class",
        json_schema_extra=OPERATIONAL,
    )
    model: str = Field(
        "gpt-4.1", min_length=1, description="the service's model; unused by exact", json_schema_extra=OPERATIONAL
    )
    concurrency: int = Field(8, ge=1, description="requests under way at once", json_schema_extra=OPERATIONAL)
    timeout_seconds: float = Field(60, gt=0, description="one request may take so long", json_schema_extra=OPERATIONAL)
    deadline_seconds: float = Field(
        600, gt=0, description="one answer may take so long, retries included", json_schema_extra=OPERATIONAL
    )
