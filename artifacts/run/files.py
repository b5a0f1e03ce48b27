"""Files and directories that are whole or absent: written under a temporary name, flushed, then renamed.

A name that starts with TEMPORARY is the leftover of a killed write; readers pass over it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = ".writing-"
REPLACED = ".replaced-"


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file so that, whenever the machine stops, `path` holds the old bytes or the new ones.

    Without `durable` that holds for a killed process, not for a power cut, and costs no wait for the disk.
    """
    write_with(path, lambda temporary: temporary.write_bytes(data), durable)


def write_with(path: Path, write: Callable[[Path], object], durable: bool = True) -> None:
    """Let `write` write a new file at the path it is given, which then becomes `path`, whole or not at all."""
    temporary = _temporary_name(path)
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
    """Write `value` as indented JSON; raises ValueError for NaN and infinity, which are no JSON."""
    # Escaped to ASCII: a model's text may hold lone surrogates, which UTF-8 cannot.
    write_bytes(path, json.dumps(value, indent=1, allow_nan=False).encode() + b"\n", durable)


@contextmanager
def new_directory(path: Path, durable: bool) -> Iterator[Path]:
    """Yield an empty directory that becomes `path` when the block ends well, in place of an older one.

    With `durable` its files reach the disk before the name does, so that it also survives a power cut.
    """
    temporary = _temporary_name(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if durable:
            sync_tree(temporary)
        _put_in_place(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_directory(path: Path, aside: Path) -> None:
    """Remove a directory by way of a leftover's name in `aside`, so that a kill leaves no half of it behind."""
    doomed = aside / _temporary_name(path).name
    path.rename(doomed)
    shutil.rmtree(doomed)


def clean_leftovers(directory: Path, names: str = "*") -> None:
    """Remove what killed writes of `names` left in `directory`; call only while no one else writes these there."""
    for replaced in directory.glob(REPLACED + names):
        original = replaced.with_name(replaced.name.removeprefix(REPLACED))
        if original.exists():
            shutil.rmtree(replaced)
        else:  # killed between the two renames of `_put_in_place`: the older one still stands
            replaced.rename(original)
    for leftover in directory.glob(TEMPORARY + names):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def sync(path: Path) -> None:
    """Flush a file's bytes, or a directory's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Flush a directory and all below it."""
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
