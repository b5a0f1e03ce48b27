"""Typed records: frozen dataclasses written atomically as one JSON object with a schema number, and read strictly.

A record's class has the number of the schema that it writes. Files of an older schema are upgraded by the class or
refused; files of a newer one are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_origin

import cattrs
from cattrs.cols import list_structure_factory
from cattrs.errors import BaseValidationError

from artifacts.run import files
from duel.errors import DamagedError, RunError

BEFORE_SCHEMAS = 1  # schema of files without a number, which were written before version 0.1.0
JSON_TYPES: dict[type, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (float, int)}


class WrongType(ValueError):
    """A value in a file does not have the JSON type of its field."""


def _strict_converter() -> cattrs.Converter:
    """Return a converter that refuses values of the wrong JSON type and unknown fields.

    The default converter of cattrs coerces: it reads null as the string "None", and a string as a list of characters.
    """
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind, accepted in JSON_TYPES.items():
        converter.register_structure_hook(kind, _scalar_hook(kind, accepted))
    converter.register_structure_hook_factory(_is_list, _list_hook)
    return converter


def _scalar_hook(kind: type, accepted: Sequence[type]) -> Callable[[Any, Any], Any]:
    return lambda value, _: kind(_checked(value, accepted, kind.__name__))


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list


def _list_hook(kind: Any, converter: cattrs.BaseConverter) -> Callable[[Any, Any], Any]:
    structure = list_structure_factory(kind, converter)
    return lambda value, of: structure(_checked(value, (list,), "a list"), of)


def _checked(value: Any, accepted: Sequence[type], expected: str) -> Any:
    if type(value) not in accepted:
        raise WrongType(f"got {value!r:.60}, expected {expected}")
    return value


def _say_fault(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, WrongType) else cattrs.v.format_exception(error, kind)


_converter = _strict_converter()


@dataclass(frozen=True)
class Record:
    """Base class of JSON records; subclasses are frozen dataclasses with fields that JSON can represent."""

    SCHEMA: ClassVar[int]

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return the fields of a file of an older `schema` in the current form; None if it cannot be upgraded."""
        del content, schema
        return None


R = TypeVar("R", bound=Record)


def write_record(path: Path, record: Record, durable: bool = True) -> None:
    """Write the record as indented JSON, schema number first. Raises ValueError for NaN and infinity."""
    files.write_json(path, {"schema": record.SCHEMA, **_converter.unstructure(record)}, durable)


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record that `write_record` wrote.

    Raises DamagedError naming the file when it is missing or damaged, RunError when it has wrong fields or an
    unsupported schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content.pop("schema", BEFORE_SCHEMAS)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DamagedError(f"cannot read {path}: {error}; expected a JSON object that Duel wrote") from None
    if schema != kind.SCHEMA:
        older = isinstance(schema, int) and schema < kind.SCHEMA
        upgraded = kind.upgrade(content, schema) if older else None
        if upgraded is None:
            raise RunError(
                f"{path} has schema {schema!r}, this version of Duel reads {kind.SCHEMA}; read it with the version "
                "that wrote it, named in versions.json of its run"
            )
        content = upgraded
    try:
        return _converter.structure(content, kind)
    except BaseValidationError as error:
        faults = "; ".join(cattrs.transform_error(error, format_exception=_say_fault))
        raise RunError(f"cannot read {path}: {faults}; expected a {kind.__name__} of schema {kind.SCHEMA}") from None
