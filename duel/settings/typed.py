"""Values of settings as they are typed on the command line."""

from __future__ import annotations

import tomllib
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from duel.settings.profile import fields_of


def parse_value(name: str, text: str) -> Any:
    """Return the value of the setting `name` that a text stands for; what it cannot be is left to the settings' check.

    `none` is None where the setting may be empty. A setting of text or a path takes the text as it is, so that the
    revision 12e4567 is no number and the folder 2024 no year; quotation marks around it are TOML's. Any other value is
    TOML (`3`, `1e-4`, `true`, `["base"]`), or else text.
    """
    annotation = dict(fields_of())[name].annotation
    members = list(_members(annotation))
    if text.lower() == "none" and types.NoneType in members:
        return None
    textual = all(_is_text(member) for member in members if member is not types.NoneType)
    if textual and not text.startswith(('"', "'")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _members(annotation: Any) -> list[Any]:
    """Return the types of a union, without their annotations; a type that is no union alone."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]


def _is_text(member: Any) -> bool:
    """Return whether values of a type are text in a TOML file."""
    if get_origin(member) is Literal:
        return all(isinstance(value, str) for value in get_args(member))
    return isinstance(member, type) and issubclass(member, str | Path)
