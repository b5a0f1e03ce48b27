"""Who worked on a run, when, and how it ended: one small file for each time that a process took it up.

A session without an end, whose process no longer holds the run's lock, died without a word.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from artifacts.run import files
from artifacts.run.directory import RunDirectory
from duel.errors import RunError

Outcome = Literal["completed", "failed", "stopped", "died"]


@dataclass(frozen=True)
class Session:
    """One time that a process trained or evaluated a run; times are UTC, ISO 8601."""

    command: str  # train or evaluate
    flow_run: str  # Prefect's id of it
    process: int
    host: str
    started: str
    ended: str | None = None
    outcome: Outcome | None = None
    message: str = ""
    rounds: int | None = None  # recorded when it ended

    @property
    def file_name(self) -> str:
        """Sorts by start."""
        return f"{self.started.replace(':', '')}-{self.command}-{self.host}-{self.process}.json"


def begin_session(run: RunDirectory, command: str, flow_run: str) -> Session:
    """Write down that this process starts to work on the run."""
    session = Session(command, flow_run, os.getpid(), socket.gethostname(), _now())
    _write(run, session)
    return session


def end_session(run: RunDirectory, session: Session, outcome: Outcome, message: str = "") -> Session:
    """Write down how it ended."""
    rounds = len(run.rounds_recorded())
    ended = replace(session, ended=_now(), outcome=outcome, message=message, rounds=rounds)
    _write(run, ended)
    return ended


def read_sessions(run: RunDirectory) -> list[Session]:
    """Return all sessions, the first first; raises RunError when a file is damaged."""
    return [_read(path) for path in sorted(run.sessions.glob("[!.]*.json"))]


def _write(run: RunDirectory, session: Session) -> None:
    files.write_json(run.sessions / session.file_name, asdict(session))


def _read(path: Path) -> Session:
    try:
        return Session(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"cannot read {path}: {error}; remove it, the run does not need it") from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
