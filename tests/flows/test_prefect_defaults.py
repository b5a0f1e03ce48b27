"""Prefect's settings: from pyproject.toml in the project's folder, from the command line's defaults anywhere else."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.cli import PREFECT_DEFAULTS

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


def flat(table: dict[str, Any], prefix: str = "PREFECT") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        name = f"{prefix}_{key.upper()}"
        if isinstance(value, dict):
            yield from flat(value, name)
        else:
            yield name, str(value).lower()


def test_the_command_line_sets_what_pyproject_sets():
    expected = dict(flat(PYPROJECT["tool"]["prefect"]))
    assert expected.pop("PREFECT_CLI_PROMPT") == "false"  # concerns `prefect deploy`, which needs the project's folder
    assert {name: PREFECT_DEFAULTS.get(name) for name in expected} == expected
