"""Atomic writes of files and directories: written under a temporary name, flushed, then renamed.

A name that starts with TEMPORARY is the leftover of a killed write; readers ignore it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from duel.errors import storing

TEMPORARY = ".writing-"
REPLACED = ".replaced-"


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file atomically: after a crash of the machine, `path` holds either the old bytes or the new ones.

    Without `durable`, this holds for a killed process but not for a power failure, and there is no wait for the disk.
    """
    write_with(path, lambda temporary: temporary.write_bytes(data), durable)


def write_with(path: Path, write: Callable[[Path], object], durable: bool = True) -> None:
    """Call `write` with a temporary path, then rename the file it wrote to `path`; on an error, `path` is unchanged.

    Raises StorageError when the disk is full, read-only or failing.
    """
    temporary = _temporary_name(path)
    with storing(path):
        try:
            write(temporary)
            if durable:
                sync(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            sync(path.parent)


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write `value` as indented JSON. Raises ValueError for NaN and infinity, which JSON cannot represent."""
    # Escaped to ASCII: a model's text may contain lone surrogates, which UTF-8 cannot encode.
    write_bytes(path, json.dumps(value, indent=1, allow_nan=False).encode() + b"\n", durable)


@contextmanager
def new_directory(path: Path, durable: bool) -> Iterator[Path]:
    """Yield a temporary directory that is renamed to `path` when the block succeeds, replacing an older one.

    With `durable`, its files are flushed before the rename, so that it also survives a power failure.
    Raises StorageError when the disk is full, read-only or failing.
    """
    temporary = _temporary_name(path)
    with storing(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            if durable:
                sync_tree(temporary)
            _put_in_place(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def remove_directory(path: Path, aside: Path) -> None:
    """Remove a directory, renamed into `aside` first, so that a kill leaves no partial directory under its name."""
    doomed = aside / _temporary_name(path).name
    path.rename(doomed)
    shutil.rmtree(doomed)


def set_aside(path: Path, prefix: str) -> Path:
    """Rename a file or directory, so that it no longer counts and can be looked at; return its new path."""
    aside = path.with_name(prefix + path.name)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{prefix}{number}-{path.name}")
    path.rename(aside)
    return aside


def clean_leftovers(directory: Path, names: str = "*") -> None:
    """Remove what killed writes of files matching `names` left in `directory`; no other process may be writing them."""
    for replaced in directory.glob(REPLACED + names):
        original = replaced.with_name(replaced.name.removeprefix(REPLACED))
        if original.exists():
            shutil.rmtree(replaced)
        else:  # killed between the two renames of `_put_in_place`: restore the older directory
            replaced.rename(original)
    for leftover in directory.glob(TEMPORARY + names):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file's bytes, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Flush a directory and everything below it."""
    for folder, _, names in os.walk(directory):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))


def _temporary_name(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")


def _put_in_place(temporary: Path, path: Path) -> None:
    replaced = path.with_name(REPLACED + path.name)
    exists = path.exists()
    if exists:
        path.rename(replaced)
    temporary.rename(path)
    sync(path.parent)
    if exists:
        shutil.rmtree(replaced)


def numbered(directory: Path, prefix: str, suffix: str = "") -> dict[int, Path]:
    """Return the paths named PREFIX, digits, SUFFIX by their number, in ascending order.

    Whatever else lies there is not Duel's, such as a copy called `ckpt-4.bak` or `eval-0025 (1).json`.
    """
    name = re.compile(re.escape(prefix) + r"([0-9]+)" + re.escape(suffix))
    found = [(int(match[1]), path) for path in directory.glob(f"{prefix}*") if (match := name.fullmatch(path.name))]
    return dict(sorted(found))
