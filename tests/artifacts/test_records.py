"""Typed records: read as written; damaged files, unknown fields and other schemas are refused."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from artifacts.run.records import Record, read_record, write_record
from duel.errors import RunError


@dataclass(frozen=True)
class Inner:
    name: str
    value: float | None


@dataclass(frozen=True)
class Kept(Record):
    """Schema 3. Schema 2 had no `done`; schema 1 is not read any more."""

    SCHEMA: ClassVar[int] = 3
    rounds: int
    done: bool
    inner: list[Inner]

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        return {**content, "done": True} if schema == 2 else None


KEPT = Kept(4, False, [Inner("lone surrogate \ud83d, \u00e4", 0.1 + 0.2), Inner("", None)])
CONTENT: dict[str, Any] = {"schema": 3, "rounds": 4, "done": False, "inner": [{"name": "a", "value": 1.5}]}


def read(tmp_path: Path, **changes: object) -> Kept:
    """Read a file of CONTENT with these fields changed; a change to ... leaves the field out."""
    content = {name: value for name, value in {**CONTENT, **changes}.items() if value is not ...}
    (tmp_path / "kept.json").write_text(json.dumps(content))
    return read_record(tmp_path / "kept.json", Kept)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path / "kept.json", KEPT)
    assert read_record(tmp_path / "kept.json", Kept) == KEPT
    assert next(iter(json.loads((tmp_path / "kept.json").read_text()).items())) == ("schema", 3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read .*kept\.json: .*No such file"):
        read_record(tmp_path / "kept.json", Kept)


@pytest.mark.parametrize("text", ["", '{"schema": 3, "rou', "[]", "3", "null", "\udcff"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "kept.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError, match=r"cannot read .*kept\.json: .*; expected a JSON object that Duel wrote"):
        read_record(tmp_path / "kept.json", Kept)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"colour": "red"}, r"extra fields found \(colour\) @ \$"),
        ({"rounds": ...}, r"required field missing @ \$\.rounds"),
        ({"rounds": 4.5}, r"got 4\.5, expected int @ \$\.rounds"),
        ({"rounds": True}, r"got True, expected int @ \$\.rounds"),
        ({"done": None}, r"got None, expected bool @ \$\.done"),
        ({"inner": "text"}, r"got 'text', expected a list @ \$\.inner"),
        ({"inner": [{"name": None, "value": 1}]}, r"got None, expected str @ \$\.inner\[0\]\.name"),
        ({"inner": [{"name": "a", "value": "1"}]}, r"got '1', expected float @ \$\.inner\[0\]\.value"),
    ],
)
def test_a_field_of_the_wrong_type_is_named_with_its_path(
    tmp_path: Path, changes: dict[str, object], fault: str
) -> None:
    with pytest.raises(RunError, match=rf"cannot read .*kept\.json: {fault}; expected a Kept of schema 3"):
        read(tmp_path, **changes)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"kept\.json has schema 4, this version of Duel reads 3; .*versions\.json"):
        read(tmp_path, schema=4)


def test_an_older_schema_is_upgraded(tmp_path: Path) -> None:
    assert read(tmp_path, schema=2, done=...) == Kept(4, True, [Inner("a", 1.5)])


@pytest.mark.parametrize("schema", [1, ...])
def test_an_unsupported_older_schema_is_refused_and_a_missing_number_means_schema_1(
    tmp_path: Path, schema: object
) -> None:
    with pytest.raises(RunError, match=r"kept\.json has schema 1, this version of Duel reads 3"):
        read(tmp_path, schema=schema)


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(tmp_path / "kept.json", Kept(4, False, [Inner("a", float("nan"))]))
    assert not (tmp_path / "kept.json").exists()
