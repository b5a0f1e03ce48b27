"""All settings as a Markdown page, printed by `duel settings` and stored in docs/settings.md by `make docs`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from duel.settings import Section, Settings
from duel.settings.profile import is_operational

INTRODUCTION = """\
# Settings

Written by `make docs` from `duel/settings/`; do not edit by hand. `duel settings` prints the same.

A run's settings are a profile (a TOML file; sections are its tables) with single values replaced on the command line:
`duel train --profile offline --run run_1 --sampling.temperature 1.0`. An unknown name or a value out of range is
refused before anything is written. `none` on the command line empties an optional setting.

Settings with *no* under *change on resume* define the result: `duel train` refuses to resume a run with another
value. The others are operational: they may be changed each time the run is resumed.
"""
HEADER = "| setting | default | values | change on resume | meaning |\n| --- | --- | --- | --- | --- |"
BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "`true`, `false`", "object": "table"}


def settings_page() -> str:
    """Return the page: one table of the top-level settings, then one for each section."""
    parts = [INTRODUCTION, table(Settings, ""), ""]
    for name, field in Settings.model_fields.items():
        section = section_of(field)
        if section:
            parts += [f"## {name}", "", section.__doc__ or "", "", table(section, f"{name}."), ""]
    return "\n".join(parts)


def table(section: type[Section], prefix: str) -> str:
    """Return the table of a section's own settings; `prefix` is the section's name with its dot."""
    return "\n".join([HEADER, *rows(section, prefix)])


def rows(section: type[Section], prefix: str) -> Iterator[str]:
    """Yield a table row for each setting of a section and of its sub-sections."""
    schema = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        inner = section_of(field)
        if inner is None:
            cells = [
                f"`{prefix}{name}`",
                default_text(field.get_default(call_default_factory=True)),
                values_text(schema[name]),
                "yes" if is_operational(field) else "no",
                field.description or "",
            ]
            yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ⏎ ") for cell in cells) + " |"
        elif prefix:  # a top-level section has its own table
            yield from rows(inner, f"{prefix}{name}.")


def section_of(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field holds, or None when it is a single setting."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def default_text(default: Any) -> str:
    """Return a default as it is written on the command line; `none` for an empty optional setting."""
    if default is None:
        return "none"
    if isinstance(default, bool | tuple | list | dict):
        return f"`{json.dumps(default)}`"
    return f"`{default}`"


def values_text(schema: dict[str, Any]) -> str:
    """Return the values that a setting accepts, from its JSON schema: the choices, or a type with its bounds."""
    if "anyOf" in schema:
        return " or ".join(values_text(option) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any")
    if kind == "null":
        return "none"
    if kind == "array":
        return f"list of {values_text(schema.get('items', {}))}"
    bounds = ", ".join(text.format(schema[name]) for name, text in BOUNDS.items() if name in schema)
    return f"{TYPES.get(kind, kind)} {bounds}".strip()
