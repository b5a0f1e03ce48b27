"""The run directory: paths of a run's settings, logs, checkpoints, plots and stage results; creating and opening it."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from artifacts.run import files, jsonl
from artifacts.run.lock import RunLock
from artifacts.run.records import write_record
from artifacts.run.versions import check_can_continue, plugin_changes, read_versions, versions_now
from duel.errors import RunError, SettingsError
from duel.settings import Settings
from duel.settings.profile import defining_differences, read_settings, upgrade_settings
from duel.state import StateDirectory

log = logging.getLogger(__name__)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
OURS = {  # what a run's directory holds
    "lock",
    "settings.json",
    "versions.json",
    "data.json",
    "topic.json",
    "sources.json",
    "training_logs",
    "eval_logs",
    "ckpts",
    "ckpt_tests",
    "past_adversaries",
    "plots",
    "stage_results",
    "sessions",
}


class RunDirectory:
    """One run's directory, `runs/<name>` of the state directory.

    `RunDirectory.open` creates or resumes a run and locks it against other processes until `close`.
    `RunDirectory.read` takes no lock; evaluations and plots may be written with it while the run is being trained.
    """

    def __init__(self, state: StateDirectory, name: str, settings: Settings, lock: RunLock | None = None) -> None:
        path = _path(state, name)
        self.state = state
        self.path = path
        self.name = name
        self.settings = settings
        self._lock = lock
        self.training_logs = path / "training_logs"
        self.eval_logs = path / "eval_logs"
        self.checkpoints = path / "ckpts"
        self.checkpoint_tests = path / "ckpt_tests"
        self.past_adversaries = path / "past_adversaries"
        self.plots = path / "plots"
        self.stage_results = path / "stage_results"  # cached results of finished stages
        self.sessions = path / "sessions"  # who worked on the run, when, and how it ended
        self.metrics = self.training_logs / "metrics.jsonl"
        self.timings = self.training_logs / "timings.jsonl"
        self.warnings: list[str] = []  # what changed since it was opened last and may matter

    @classmethod
    def open(cls, state: StateDirectory, name: str, settings: Settings) -> RunDirectory:
        """Create the run, or open an existing one to resume it; locks it.

        Raises RunError when the name is invalid, the directory cannot be written or is not a run, another process has
        the run open, an incompatible version of Duel created it, or a setting that defines the result differs from the
        run's own (the message names each).
        """
        path = _path(state, name)
        try:
            _check_free(path)
            path.mkdir(parents=True, exist_ok=True)
            lock = RunLock(path / "lock")
        except OSError as error:
            raise RunError(
                f"cannot open run {name} in {path.parent}: {error}; expected a directory that can be written"
            ) from None
        try:
            run = cls(state, name, settings, lock)
            run._write_settings()
        except BaseException:
            lock.release()
            raise
        return run

    @classmethod
    def exists(cls, state: StateDirectory, name: str) -> bool:
        """Return whether the run exists. Raises RunError when the name is invalid."""
        return (_path(state, name) / "settings.json").is_file()

    @classmethod
    def names(cls, state: StateDirectory) -> list[str]:
        """Return the names of all runs."""
        return sorted(found.parent.name for found in state.runs.glob("*/settings.json"))

    @classmethod
    def read(cls, state: StateDirectory, name: str, settings: Settings | None = None) -> RunDirectory:
        """Open an existing run without a lock, with its own settings or with `settings`.

        Raises RunError when there is no such run, or when a setting that defines the result differs in `settings`.
        """
        path = _path(state, name)
        if not cls.exists(state, name):
            known = cls.names(state)
            runs = f"runs there: {', '.join(known)}" if known else "there are no runs there yet"
            raise RunError(f"no run {name} in {path.parent}; {runs}")
        own = _read_settings(path)
        if settings is not None:
            _check_settings(name, own, settings)
        return cls(state, name, settings or own)

    def round_directory(self, index: int) -> Path:
        """Return the directory of round `index`, with its images, texts and PDF."""
        return self.training_logs / f"round-{index:04d}"

    def rounds_recorded(self) -> list[int]:
        """Return the numbers of the rounds that have a directory, in ascending order."""
        return list(files.numbered(self.training_logs, "round-"))

    def discard_unbegun(self) -> None:
        """Remove the run if nothing was trained: no round, evaluation or checkpoint. Its settings bind nobody then.

        A directory with other files, such as a report or notes, is kept, and so is one that cannot be removed.
        """
        begun = (self.training_logs, self.eval_logs, self.checkpoints, self.checkpoint_tests, self.stage_results)
        if not any(any(folder.iterdir()) for folder in begun) and not _foreign(self.path):
            shutil.rmtree(self.path, ignore_errors=True)

    def mend(self) -> None:
        """Remove what a kill left: temporary files and incomplete last lines."""
        files.clean_leftovers(self.training_logs)
        files.clean_leftovers(self.eval_logs)
        files.clean_leftovers(self.past_adversaries)
        jsonl.keep_rows(self.metrics)
        jsonl.keep_rows(self.timings)

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_settings(self) -> None:
        differences = defining_differences(_read_settings(self.path), self.settings)
        if differences:
            raise RunError(
                f"run {self.name} was started with other settings: {'; '.join(differences)}; "
                "use the same ones, or another run name"
            )

    def _write_settings(self) -> None:
        if (self.path / "settings.json").exists():
            check_can_continue(self.path)
            self._check_settings()
        folders = (
            self.training_logs,
            self.eval_logs,
            self.checkpoints,
            self.checkpoint_tests,
            self.plots,
            self.stage_results,
            self.sessions,
        )
        try:
            for directory in folders:
                directory.mkdir(exist_ok=True)
            files.clean_leftovers(self.path, "*.json")
            self._write_versions()
            files.write_json(self.path / "settings.json", self.settings.model_dump(mode="json"))
        except OSError as error:
            raise RunError(f"cannot write run {self.name}: {error}; expected a directory that can be written") from None

    def _write_versions(self) -> None:
        """Write versions.json, and warn about plug-in classes that have changed since the run was last opened."""
        now = versions_now(self.settings)
        if (self.path / "versions.json").exists():
            self.warnings = plugin_changes(read_versions(self.path), now)
        for warning in self.warnings:
            log.warning("run %s: %s", self.name, warning)
        write_record(self.path / "versions.json", now)


def _path(state: StateDirectory, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise RunError(
            f"bad run name {name!r}: expected letters, digits, dots, dashes and underscores, a letter or digit first"
        )
    return state.run(name).absolute()


def _check_free(path: Path) -> None:
    """Raise RunError when `path` is a directory without settings.json that holds files which no run has."""
    if not path.is_dir() or (path / "settings.json").exists():
        return
    foreign = _foreign(path)
    if foreign:
        raise RunError(f"{path} is not a run of Duel: it holds {foreign[0]} but no settings.json; use another run name")


def _foreign(path: Path) -> list[str]:
    """Return the names in a run directory that no run has; hidden ones are not counted."""
    return sorted(found.name for found in path.iterdir() if found.name not in OURS and found.name[0] != ".")


def _read_settings(path: Path) -> Settings:
    file = path / "settings.json"
    try:
        return read_settings(upgrade_settings(json.loads(file.read_text(encoding="utf-8"))))
    except (OSError, ValueError, SettingsError) as error:
        raise RunError(f"cannot read {file}: {error}; expected the settings of a run, as Duel writes them") from None


def _check_settings(name: str, own: Settings, now: Settings) -> None:
    differences = defining_differences(own, now)
    if differences:
        raise RunError(
            f"run {name} was started with other settings: {'; '.join(differences)}; "
            "use the same ones, or another run name"
        )
