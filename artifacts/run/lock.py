"""A run's lock file: allows one training process at a time and names its owner."""

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
    """An exclusive flock, which the kernel releases when its process dies, so that a dead owner never blocks a run.

    Raises RunError naming the owner's process, host and start time when the lock is held, also by this process.
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
        """Release the lock; the file stays, because removing it would race with a process that opens it."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None


def owner_of(path: Path) -> str | None:
    """Return process, host and start time of the current holder of the lock at `path`, or None."""
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
    # Retried for 0.2 s, because `owner_of` holds the lock briefly while it checks.
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
    except json.JSONDecodeError:  # the owner has not written its name yet
        return "another process"
    return f"process {owner['pid']} on host {owner['host']}, started {owner['started']}"
