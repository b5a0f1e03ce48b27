"""Reading settings from TOML profiles, overriding them by dotted name, and comparing those of two runs."""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from duel.errors import SettingsError
from duel.settings.run import Settings
from duel.settings.sections import Section


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Validate nested values as Settings. Raises SettingsError with one line that names every invalid setting."""
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as error:
        faults = "; ".join(_explain(dict(fault)) for fault in error.errors())
        raise SettingsError(f"bad settings: {faults}") from None


def upgrade_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's stored settings in today's form: before 0.1.0 both players shared `grpo` and `optimizer`."""
    upgraded = copy.deepcopy(dict(values))
    if "grpo" not in upgraded:
        return upgraded
    grpo, optimizer = upgraded.pop("grpo"), upgraded.pop("optimizer")
    adversary_rate = optimizer.pop("adversary_learning_rate")
    upgraded["base"] = {"grpo": grpo, "optimizer": optimizer}
    upgraded["adversary"] = copy.deepcopy(upgraded["base"])
    if adversary_rate is not None:
        upgraded["adversary"]["optimizer"]["learning_rate"] = adversary_rate
    return upgraded


def read_profile(path: Path) -> dict[str, Any]:
    """Return a TOML profile as nested values. Raises SettingsError when it cannot be read or parsed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read the profile {path}: {error}; expected a TOML file") from None


def override(values: Mapping[str, Any], dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested `values` with the `section.key` entries of `dotted` replaced.

    Raises SettingsError when a name's section is a value.
    """
    merged: dict[str, Any] = copy.deepcopy(dict(values))
    for name, value in dotted.items():
        *sections, key = name.split(".")
        place = merged
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise SettingsError(f"bad settings: {name}: {section} is a value, not a section")
        place[key] = value
    return merged


def fields_of(section: type[Section] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting as (dotted name, pydantic field), recursing into sections."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from fields_of(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def is_operational(field: FieldInfo) -> bool:
    """Return whether a setting may differ when a run is opened again."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("operational"))


def flatten(settings: Settings) -> dict[str, Any]:
    """Return all settings as JSON values by dotted name."""
    dumped = settings.model_dump(mode="json")
    flat = {}
    for name, _ in fields_of():
        value: Any = dumped
        for part in name.split("."):
            value = value[part]
        flat[name] = value
    return flat


def defining_differences(before: Settings, now: Settings) -> list[str]:
    """Return one line per setting that differs and is not operational, i.e. that affects the run's results."""
    operational = {name for name, field in fields_of() if is_operational(field)}
    old, new = flatten(before), flatten(now)
    return [
        f"{name}: {old[name]!r} then, {new[name]!r} now"
        for name in old
        if name not in operational and old[name] != new[name]
    ]


def _explain(fault: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if not place.isprintable():
        place = ascii(place)
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place, [name for name, _ in fields_of()], n=1, cutoff=0.5)
        return f"{place} is not a setting" + (f"; did you mean {near[0]}?" if near else "")
    message = fault["msg"].removeprefix("Value error, ")
    got = f"got {fault['input']!r}: " if not isinstance(fault["input"], dict | Section) else ""
    return f"{place}: {got}{message}" if place else message
