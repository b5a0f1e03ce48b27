"""The base class of all sections of settings, and the types that their fields share."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

OPERATIONAL: dict[str, Any] = {"operational": True}
PLUGIN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")  # package.module:Class


class Section(BaseModel):
    """Base class of all settings: unknown keys, infinity and NaN are refused, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class NameOrClass:
    """Annotation of a text setting that accepts one of these names, or a plug-in class as package.module:Class."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def check(self, value: str) -> str:
        """Return the value. Raises ValueError when it is neither a name nor of the form of a class."""
        if value not in self.names and not is_plugin(value):
            raise ValueError(f"expected {', '.join(self.names)}, or a class of your own as package.module:Class")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"enum": list(self.names)}, handler(schema)]}  # the names, for forms and the settings page


def is_plugin(value: str) -> bool:
    """Return whether a setting's value names a plug-in class, as package.module:Class."""
    return PLUGIN.fullmatch(value) is not None
