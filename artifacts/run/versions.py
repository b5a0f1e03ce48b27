"""`versions.json`: the versions that wrote a run, and whether this version of Duel can resume it."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import duel
from artifacts.run.records import Record, read_record
from duel.errors import RunError
from duel.plugins import Plugin, plugin_versions
from duel.settings import Settings

# Increase it when older runs can no longer be resumed with the same result, because stage results, random streams,
# settings or training state have changed. Runs with another number can still be read if their files can.
RUN_SCHEMA = 2
LIBRARIES = ("torch", "transformers", "peft", "prefect", "diskcache", "numpy", "pillow")


@dataclass(frozen=True)
class Versions(Record):
    """The versions that wrote a run last. Schema 1 was a flat table of Python and libraries, without Duel's version."""

    SCHEMA: ClassVar[int] = 2

    run_schema: int  # RUN_SCHEMA of the version that created the run
    duel: str | None  # None: before 0.1.0
    python: str
    libraries: dict[str, str]
    plugins: dict[str, Plugin] = field(default_factory=dict)  # plug-in classes, by setting

    @classmethod
    def upgrade(cls, content: dict[str, Any], schema: int) -> dict[str, Any] | None:
        """Return the fields of a schema 1 file in the current form; None for other schemas."""
        if schema != 1:
            return None
        libraries = {name: version for name, version in content.items() if name != "python"}
        return {"run_schema": 1, "duel": None, "python": content.get("python"), "libraries": libraries}

    @property
    def by_name(self) -> dict[str, str]:
        """All known versions by name, Duel's first."""
        known = {} if self.duel is None else {"duel": self.duel}
        own = {plugin.name: plugin.version for plugin in self.plugins.values()}
        return {**known, "python": self.python, **self.libraries, **own}


def versions_now(settings: Settings) -> Versions:
    """Return the versions of this process and of the plug-in classes that the settings name.

    Libraries that are not installed are left out. Raises SettingsError when a plug-in class cannot be imported.
    """
    libraries = {}
    for library in LIBRARIES:
        try:
            libraries[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Versions(RUN_SCHEMA, duel.__version__, platform.python_version(), libraries, plugin_versions(settings))


def read_versions(run: Path) -> Versions:
    """Return the versions that wrote the run in this directory. Raises RunError when the file cannot be read."""
    return read_record(run / "versions.json", Versions)


def plugin_changes(before: Versions, now: Versions) -> list[str]:
    """Return a sentence for each setting whose plug-in class, or its version, has changed."""
    return [
        f"{setting} was {before.plugins[setting]} when the run was opened last, and is {plugin} now"
        for setting, plugin in now.plugins.items()
        if before.plugins.get(setting, plugin) != plugin
    ]


def check_can_continue(run: Path) -> None:
    """Raise RunError when the run in this directory was created by an incompatible version of Duel."""
    found = read_versions(run)
    if found.run_schema != RUN_SCHEMA:
        by = "a version of Duel before 0.1.0" if found.duel is None else f"Duel {found.duel}"
        raise RunError(
            f"run {run.name} was created by {by}; Duel {duel.__version__} cannot resume it, because stage results and "
            "random streams differ: resume it with the version that created it, or use another run name; duel status "
            "and duel report can read it"
        )
