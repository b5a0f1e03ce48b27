"""What every section of settings has in common, and the form of a setting that names a class."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

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
