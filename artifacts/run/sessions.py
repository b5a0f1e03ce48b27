"""Session files of a run: one JSON file per process that trained or evaluated it, with start, end and outcome.

A session without an end whose process no longer holds the run's lock belongs to a process that was killed.
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
    """One process that trained or evaluated a run; times are UTC in ISO 8601."""

    command: str  # train or evaluate
    flow_run: str  # id of the Prefect flow run; empty outside of one
    process: int
    host: str
    started: str
    ended: str | None = None
    outcome: Outcome | None = None
    message: str = ""
    rounds: int | None = None  # number of rounds recorded when it ended

    @property
    def file_name(self) -> str:
        """The file's name, which sorts by start time."""
        return f"{self.started.replace(':', '')}-{self.command}-{self.host}-{self.process}.json"


def begin_session(run: RunDirectory, command: str, flow_run: str) -> Session:
    """Write and return a session of this process that starts now."""
    session = Session(command, flow_run, os.getpid(), socket.gethostname(), _now())
    _write(run, session)
    return session


def end_session(run: RunDirectory, session: Session, outcome: Outcome, message: str = "") -> Session:
    """Write and return the session with its end, outcome and number of recorded rounds."""
    rounds = len(run.rounds_recorded())
    ended = replace(session, ended=_now(), outcome=outcome, message=message, rounds=rounds)
    _write(run, ended)
    return ended


def read_sessions(run: RunDirectory) -> list[Session]:
    """Return all sessions in order of their start. Raises RunError when a file is damaged."""
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
