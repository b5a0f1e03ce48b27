"""Duel's exceptions, by who can fix them.

    DuelError
    ├── UserError            the user can fix it (exit code 2)
    │   ├── SettingsError    a setting is unknown, out of range or contradicts another
    │   ├── DataError        a data set or an image in it is missing or broken
    │   ├── RunError         a run directory cannot be opened, written or resumed
    │   │   └── DamagedError a file of a run is not what was written
    │   ├── LimitError       a limit on what may be bought is reached
    │   └── StorageError     the disk is full, read-only or failing, or a database on it is damaged
    └── ServiceError         a service or model failed; a retry may succeed (exit code 1)
        ├── GeneratorError   no image was obtained from the image generator
        └── JudgeError       no usable grade was obtained from the judge

Bad model output (an empty description, an unparseable answer) is data, never an exception.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DuelError(Exception):
    """Base class of Duel's exceptions."""


class UserError(DuelError):
    """The user can fix it; the message says what was got, what was expected, and what to do."""


class SettingsError(UserError):
    """A setting is unknown, out of range or contradicts another."""


class DataError(UserError):
    """A data set, or an image in it, is missing or broken."""


class RunError(UserError):
    """A run directory cannot be opened, written or resumed."""


class DamagedError(RunError):
    """A file of a run is not what was written: cut short or changed."""


class LimitError(UserError):
    """A limit on what may be bought is reached: of the budget, or of attempts at one draw."""


class StorageError(UserError):
    """The disk is full, read-only or failing, or a database on it is damaged."""


class ServiceError(DuelError):
    """A service or model failed; a retry may succeed."""


class GeneratorError(ServiceError):
    """No image was obtained from the image generator."""


class JudgeError(ServiceError):
    """No usable grade was obtained from the judge."""


def is_damage(error: BaseException) -> bool:
    """Whether an exception is SQLite's report of a damaged file."""
    return isinstance(error, sqlite3.DatabaseError) and any(word in str(error).lower() for word in DAMAGED)


DISK_FAULTS = {  # errno: what happened, what to do
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space"),
    errno.EFBIG: ("the limit of a file's size is reached", "raise it (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "make it writable"),
    errno.EACCES: ("writing is not permitted", "make it writable"),
    errno.EIO: ("the disk failed", "check the disk"),
}
TEXTS = {  # of libraries that give no errno: SQLite, safetensors
    "disk is full": errno.ENOSPC,
    "os error 28": errno.ENOSPC,
    "os error 27": errno.EFBIG,
    "os error 30": errno.EROFS,
    "os error 5)": errno.EIO,
    "readonly database": errno.EROFS,
    "disk i/o error": errno.EIO,
}
DAMAGED = ("malformed", "not a database", "file is encrypted")  # SQLite's words for a damaged file
SAFE = "what was recorded before is safe, and images already drawn are in the store"


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Raise what the disk does wrong within the block, and SQLite's report of a damaged file, as StorageError."""
    try:
        yield
    except Exception as error:
        found = storage_error(error, path)
        if found is None or found is error:
            raise
        raise found from error


def storage_error(error: BaseException, path: Path | None = None) -> StorageError | None:
    """Return the StorageError for an exception of the file layer, SQLite or safetensors; None if it is something else.

    `path` is what was to be written; None: what the exception names, if anything.
    """
    if isinstance(error, DuelError):
        return error if isinstance(error, StorageError) else None
    place = path or getattr(error, "filename", None)
    where = f" ({place})" if place else ""
    text = str(error).lower()
    if is_damage(error):
        return StorageError(
            f"the database{where} is damaged: {error}; runs and their checkpoints are safe; restore the file from a "
            "backup, or move it away, then run the same command again"
        )
    code = error.errno if isinstance(error, OSError) else None
    if code is None:
        code = next((code for words, code in TEXTS.items() if words in text), None)
    if code not in DISK_FAULTS:
        return None
    happened, todo = DISK_FAULTS[code]
    return StorageError(f"{happened}{where}; {SAFE}; {todo}, then run the same command again, it resumes")
