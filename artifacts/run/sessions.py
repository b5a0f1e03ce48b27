"""Session files of a run: one JSON file per process that trained or evaluated it, with start, end and outcome.

A session without an end whose process no longer holds the run's lock belongs to a process that was killed.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from artifacts.run import files
from artifacts.run.directory import RunDirectory
from duel.errors import RunError, storing

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
    """Write and return a session of this process that starts now, or as many microseconds later as names are taken."""
    started = datetime.now(UTC)
    session = Session(command, flow_run, os.getpid(), socket.gethostname(), _text(started))
    while not _claim(run, session):
        started += timedelta(microseconds=1)
        session = replace(session, started=_text(started))
    _write(run, session)
    return session


def end_session(run: RunDirectory, session: Session, outcome: Outcome, message: str = "") -> Session:
    """Write and return the session with its end, outcome and number of recorded rounds."""
    rounds = len(run.rounds_recorded())
    ended = replace(session, ended=_text(datetime.now(UTC)), outcome=outcome, message=message, rounds=rounds)
    _write(run, ended)
    return ended


def read_sessions(run: RunDirectory) -> list[Session]:
    """Return all sessions in order of their start. Raises RunError when a file is damaged.

    An empty file is the name of a session that is about to be written, or was killed before.
    """
    return [_read(path) for path in sorted(run.sessions.glob("[!.]*.json")) if path.stat().st_size]


def _claim(run: RunDirectory, session: Session) -> bool:
    """Create the session's file, empty; return False if another session has it."""
    path = run.sessions / session.file_name
    with storing(path):
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
    return True


def _write(run: RunDirectory, session: Session) -> None:
    files.write_json(run.sessions / session.file_name, asdict(session))


def _read(path: Path) -> Session:
    try:
        return Session(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"cannot read {path}: {error}; remove it, the run does not need it") from None


def _text(time: datetime) -> str:
    """Return a time in UTC with microseconds. Earlier versions wrote milliseconds; both sort among each other."""
    return time.isoformat(timespec="microseconds")
