"""The lock of a run: one process at a time trains it, and its name is in the lock's file."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

from duel.errors import RunError


class RunLock:
    """A file lock that the kernel drops when its process dies, so that a dead owner never blocks a run.

    Raises RunError naming the owner's process, host and start when another process, or this one, holds it.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not _take(self._descriptor):
            os.close(self._descriptor)
            owner = _describe(path.read_text(encoding="utf-8", errors="replace"))
            raise RunError(
                f"run {path.parent.name} is in use by {owner}; wait until it ends, or stop it, then try again"
            )
        started = datetime.now(UTC).isoformat(timespec="seconds")
        owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": started})
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, owner.encode(), 0)

    def release(self) -> None:
        """Let the next process in; the file stays, since removing it would race with one that opens it."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None


def owner_of(path: Path) -> str | None:
    """Return the process, host and start of who holds the lock at `path` now, or None."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _describe(path.read_text(encoding="utf-8", errors="replace"))
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int) -> bool:
    # Tried again for a moment: `owner_of` holds the lock while it looks.
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _describe(content: str) -> str:
    try:
        owner = json.loads(content)
    except json.JSONDecodeError:  # it has the lock and has not yet written its name
        return "another process"
    return f"process {owner['pid']} on host {owner['host']}, started {owner['started']}"
