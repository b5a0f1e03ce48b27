"""Input schemas of the fake Replicate's models, and validation errors in the real service's wording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FLUX_SCHNELL = "black-forest-labs/flux-schnell"
COMMUNITY = "duel-loopback/community-model"  # not official: called by version only
VERSIONS = {
    "c846a69991daf4c0e5d016514849d14ee5b2e6846ce6b9d6f21369e564cfe51e": FLUX_SCHNELL,
    "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa": COMMUNITY,
}


@dataclass(frozen=True)
class Field:
    """One input field of a model, as in its JSON schema."""

    type: type
    required: bool = False
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()


FLUX_INPUTS = {
    "prompt": Field(str, required=True),
    "aspect_ratio": Field(
        str, choices=("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
    ),
    "num_outputs": Field(int, least=1, most=4),
    "num_inference_steps": Field(int, least=1, most=4),
    "seed": Field(int),
    "output_format": Field(str, choices=("webp", "jpg", "png")),
    "output_quality": Field(int, least=0, most=100),
    "disable_safety_checker": Field(bool),
    "go_fast": Field(bool),
    "megapixels": Field(str, choices=("1", "0.25")),
}
COMMUNITY_INPUTS = {"prompt": Field(str, required=True), "seed": Field(int), "steps": Field(int, least=1, most=50)}
MODELS: dict[str, Mapping[str, Field]] = {FLUX_SCHNELL: FLUX_INPUTS, COMMUNITY: COMMUNITY_INPUTS}
NAMES = {str: "string", int: "integer", bool: "boolean"}

InputError = dict[str, str]  # type, field, description


def input_errors(model: str, input: Any) -> list[InputError]:
    """Return an input's validation errors; unknown fields are ignored, as by the real service."""
    if not isinstance(input, dict):
        return [input_error("invalid_type", "input", f"Invalid type. Expected: object, given: {json_type(input)}")]
    schema = MODELS[model]
    missing = [name for name, field in schema.items() if field.required and name not in input]
    errors = [input_error("required", "input", f"{name} is required") for name in missing]
    for name, value in input.items():
        if name in schema:
            errors += value_errors(name, schema[name], value)
    return errors


def value_errors(name: str, field: Field, value: Any) -> list[InputError]:
    """Return the validation errors of one value."""
    place = f"input.{name}"
    if not isinstance(value, field.type) or isinstance(value, bool) is not (field.type is bool):
        expected = NAMES[field.type]
        return [input_error("invalid_type", place, f"Invalid type. Expected: {expected}, given: {json_type(value)}")]
    if field.choices and value not in field.choices:
        choices = ", ".join(f'"{choice}"' for choice in field.choices)
        return [input_error("enum", place, f"{name} must be one of the following: {choices}")]
    if isinstance(value, int) and field.least is not None and value < field.least:
        return [input_error("number_gte", place, f"Must be greater than or equal to {field.least}")]
    if isinstance(value, int) and field.most is not None and value > field.most:
        return [input_error("number_lte", place, f"Must be less than or equal to {field.most}")]
    return []


def input_error(type: str, field: str, description: str) -> InputError:
    """Return one validation error in the service's format."""
    return {"type": type, "field": field, "description": description}


def json_type(value: Any) -> str:
    """Return a value's JSON type name."""
    names = {type(None): "null", float: "number", list: "array", dict: "object"} | NAMES
    return names.get(type(value), "unknown")
