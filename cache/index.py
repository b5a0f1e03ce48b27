"""The index of a blob store: a SQLite database beside the files of the blobs, rebuilt from them when it is lost.

Each blob's file holds its key and its hash, so that an index that was emptied, removed or damaged costs time and no
images. Taken for a new store, it would let every image be paid for again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import diskcache

from duel.errors import StorageError, is_damage

log = logging.getLogger(__name__)

DATABASE = "cache.db"  # diskcache's names
BLOBS = "*.val"
REBUILDING = "rebuilding"  # exists while the index is rebuilt
PATIENCE = 2.0  # seconds to wait for a process that may be closing it or rebuilding it
ASIDE = "damaged-"  # prefix of the database that was replaced

OpenCache = Callable[[Path], diskcache.Cache]
KeyOf = Callable[[bytes], str | None]


@contextmanager
def open_index(directory: Path, lock: Path, open_cache: OpenCache, key_of: KeyOf) -> Iterator[diskcache.Cache]:
    """Yield the store's index, rebuilt first if it is lost or damaged; hold `lock` shared meanwhile.

    `key_of` returns the key in a blob's bytes, or None where they are damaged.
    Raises StorageError when it must be rebuilt while another process has it open.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if find_fault(directory) is not None:
            _take_alone(descriptor, directory)
            # another process may have been faster
            if (fault := find_fault(directory)) is not None:
                rebuild(directory, fault, open_cache, key_of)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        with closing(open_cache(directory)) as cache:
            yield cache
    finally:
        os.close(descriptor)


def find_fault(directory: Path) -> str | None:
    """Return what is wrong with the index, as the predicate of a message, or None."""
    database = directory / DATABASE
    if (directory / REBUILDING).exists():
        return "was not rebuilt to its end"
    if not database.exists() or not database.stat().st_size:
        return "is missing" if _has_blobs(directory) else None
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            [[found]] = connection.execute("PRAGMA quick_check(1)").fetchall()
            if found != "ok":
                return f"is damaged ({' '.join(str(found).split())})"
            [[tables]] = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'Cache'").fetchall()
            rows = connection.execute("SELECT 1 FROM Cache LIMIT 1").fetchall() if tables else []
    except sqlite3.DatabaseError as error:
        if not is_damage(error) or not _has_blobs(directory):  # nothing to rebuild it from: is it a store at all?
            raise
        return f"is damaged ({error})"
    return "is empty" if not rows and _has_blobs(directory) else None


def rebuild(directory: Path, fault: str, open_cache: OpenCache, key_of: KeyOf) -> None:
    """Move the database aside and write a new one from the files of the blobs, and from entries still read in the old.

    Repeated after a kill, it goes on. Damaged files stay where they are, without an entry.
    """
    begun = (directory / REBUILDING).exists()
    (directory / REBUILDING).touch()
    salvaged = {} if begun else _set_aside(directory)
    kept = damaged = 0
    with closing(open_cache(directory)) as cache:
        for packed in salvaged.values():
            key = key_of(packed)
            if key is not None:
                cache.set(key, packed, retry=True)
        indexed = {directory / name for name in _file_names(directory)}
        for blob in [path for path in directory.rglob(BLOBS) if path not in indexed]:
            packed = blob.read_bytes()
            key = key_of(packed)
            if key is None:
                damaged += 1
                continue
            cache.set(key, packed, retry=True)  # writes a file of its own
            blob.unlink()
            kept += 1
    (directory / REBUILDING).unlink()
    log.warning(
        "the index of %s %s; rebuilt from %d files%s", directory, fault, kept, f", {damaged} damaged" if damaged else ""
    )


def _take_alone(descriptor: int, directory: Path) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # else two processes that found the fault would wait for each other
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                break
            time.sleep(0.05)
    fault = find_fault(directory)
    if fault is not None:
        raise StorageError(
            f"the index of {directory} {fault}, and another process has it open; the images beside it "
            "are safe; stop the other runs, then run the same command again: the index is rebuilt"
        )


def _set_aside(directory: Path) -> dict[str, bytes]:
    """Rename the database's files; return the entries that are in the database itself and can still be read."""
    number = len(list(directory.glob(f"{ASIDE}*{DATABASE}")))
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        if (directory / name).exists():
            (directory / name).rename(directory / f"{ASIDE}{number}-{name}")
    aside = directory / f"{ASIDE}{number}-{DATABASE}"
    return _entries_within(aside) if aside.exists() else {}


def _entries_within(database: Path) -> dict[str, bytes]:
    """Return the small entries of older stores, by key, up to the first damaged page."""
    found: dict[str, bytes] = {}
    with closing(sqlite3.connect(database)) as connection:
        try:
            for key, value in connection.execute("SELECT key, value FROM Cache WHERE filename IS NULL"):
                found[str(key)] = bytes(value)
        except (sqlite3.DatabaseError, TypeError):
            log.warning("%s could be read in part only", database)
    return found


def _file_names(directory: Path) -> list[str]:
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        return [name for [name] in connection.execute("SELECT filename FROM Cache WHERE filename IS NOT NULL")]


def _has_blobs(directory: Path) -> bool:
    return next(directory.rglob(BLOBS), None) is not None
