"""The page of settings, and that docs/settings.md equals it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from duel.settings import OPERATIONAL, Section
from duel.settings.profile import fields_of
from flows.cli import main
from flows.settings_page import rows, settings_page

ROOT = Path(__file__).parents[2]


class Example(Section):
    """Settings of every type."""

    size: int | None = Field(None, ge=3, description="first | second")
    rate: float = Field(0.5, gt=0, lt=1, description="a rate", json_schema_extra=OPERATIONAL)
    kind: Literal["a", "b"] = Field("a", description="which")
    names: tuple[str, ...] = Field(("x", "y"), description="whom")


def test_a_row_has_default_values_and_whether_it_can_be_changed_on_resume():
    assert list(rows(Example, "example.")) == [
        "| `example.size` | none | integer ≥ 3 or none | no | first \\| second |",
        "| `example.rate` | `0.5` | number > 0, < 1 | yes | a rate |",
        "| `example.kind` | `a` | `a`, `b` | no | which |",
        '| `example.names` | `["x", "y"]` | list of text | no | whom |',
    ]


def test_every_setting_is_on_the_page_once():
    page = settings_page()
    assert [name for name, _ in fields_of() if page.count(f"| `{name}` |") != 1] == []


def test_every_setting_has_a_meaning():
    assert [name for name, field in fields_of() if not field.description] == []


def test_the_committed_page_is_what_the_command_prints(capsys):
    assert main(["settings"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "settings.md").read_text(), "run `make docs`"
