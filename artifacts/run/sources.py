"""`sources.json`: the hub commits of the models that a run was started with; others are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from artifacts.run.directory import RunDirectory
from artifacts.run.records import Record, read_record, write_record
from duel.errors import RunError

FILE = "sources.json"
PINNED_BY = {"generator.model": "generator.version"}  # others by the setting NAME_revision


@dataclass(frozen=True)
class Sources(Record):
    """Where a run's models come from."""

    SCHEMA: ClassVar[int] = 1

    commits: dict[str, str]  # by setting, e.g. `models.base`; local folders and embedded models have none


def check_sources(run: RunDirectory, commits: Mapping[str, str]) -> None:
    """Record the commits that are not recorded yet. Raises RunError naming the model whose commit is another now.

    `commits` are those of the models that were loaded, by setting.
    """
    path = run.path / FILE
    known = read_record(path, Sources).commits if path.exists() else {}
    for setting, commit in commits.items():
        if known.get(setting, commit) != commit:
            raise RunError(
                f"{setting} is at commit {commit} now, and run {run.name} was started with {known[setting]}; set "
                f"{PINNED_BY.get(setting, f'{setting}_revision')} = {known[setting]!r}, or start a run of another name"
            )
    if commits.keys() - known.keys():
        write_record(path, Sources({**known, **commits}))
