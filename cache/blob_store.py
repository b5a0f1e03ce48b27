"""Entries on disk by SHA-256 key: each checked at every read, none evicted, one writer per key across processes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from duel.closing import Closing
from duel.errors import RunError

KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """What is stored under one key."""

    kind: str  # what the bytes are to the store above, e.g. image or refusal
    media_type: str  # e.g. image/png
    body: bytes
    origin: str = ""  # who stored it first, e.g. `run/round/stage`; empty: not said


class BlobStore(Closing):
    """Entries on disk, safe to share between threads and between processes.

    Keys are SHA-256 hex digests. Nothing is ever evicted. An entry carries its own hash, which is checked at every
    read; a damaged entry counts as missing. One thread owns the database connection, so that `close` can close it
    from any thread.

    `name` is what error messages call the store. Raises RunError when `directory` cannot be used.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self._locks = directory / "locks"
        self._closed = False
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="blob-store")
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            # The folder below is called images in every store: that is what it was called first.
            self._cache = self._owner.submit(_open_cache, directory / "images").result()
        except (OSError, sqlite3.Error) as error:
            self._owner.shutdown()
            raise RunError(
                f"cannot open the {name} {directory}: {error}; expected a directory that can be written"
            ) from None

    def get(self, key: str) -> Entry | None:
        """Return what is stored under `key`, or None when nothing is, or only damaged bytes are."""
        packed = self._owner.submit(_read, self._cache, _checked(key)).result()
        return None if packed is None else unpack(key, packed)

    def put(self, key: str, entry: Entry) -> None:
        """Store `entry` under `key`; it survives the death of this process from the moment this returns."""
        packed = pack(_checked(key), entry)
        self._owner.submit(_write, self._cache, key, packed).result()

    def get_or_make(self, key: str, make: Callable[[], Entry]) -> Entry:
        """Return what is stored under `key`, calling `make` first if nothing is.

        Of several threads or processes that want one key, one calls `make` and the others wait for it. An exception
        of `make` passes through, stores nothing, and lets the next one try.
        """
        found = self.get(key)
        if found is not None:
            return found
        with self._locked(key):
            found = self.get(key)
            if found is None:
                found = make()
                self.put(key, found)
            return found

    def __len__(self) -> int:
        """Return how many entries are stored, damaged ones included."""
        return int(self._owner.submit(self._cache.__len__).result())

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        if not self._closed:
            self._closed = True
            self._owner.submit(self._cache.close).result()
            self._owner.shutdown()

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        # flock belongs to the open file, hence also keeps threads apart, and the kernel drops it with a killed
        # process. One file per 3 digits bounds the number of files; two keys that share one only wait longer.
        descriptor = os.open(self._locks / key[:3], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            # Unlocked by name: a child forked meanwhile holds a copy of the descriptor.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no type hints
    """A diskcache Disk that holds text keys and bytes only, and neither writes nor reads pickle."""

    def put(self, key: Any) -> tuple[str, bool]:
        """Return the database's form of a key."""
        if type(key) is not str:
            raise TypeError(f"the store's keys are text, got {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: bool) -> str:
        """Return the key of the database's form."""
        if not raw or type(key) is not str:
            raise TypeError("a key of the store is not text; it was not written by Duel")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> Any:
        """Return the database's form of a value."""
        if type(value) is not bytes or read:
            raise TypeError(f"the store holds bytes, got {type(value).__name__}")
        return super().store(value, False, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> bytes | None:
        """Return the bytes of the database's form, or None if they are of a kind that `store` never writes."""
        if mode not in (MODE_RAW, MODE_BINARY) or (mode == MODE_RAW and type(value) is not bytes):
            return None
        entry: bytes = super().fetch(mode, filename, value, read)
        return entry


def pack(key: str, entry: Entry) -> bytes:
    """Return an entry as bytes: SHA-256 of all that follows, a line of JSON, and the body as it came."""
    fields = {"key": key, "kind": entry.kind, "media_type": entry.media_type, "origin": entry.origin}
    header = json.dumps(fields).encode() + b"\n"
    return hashlib.sha256(header + entry.body).hexdigest().encode() + b"\n" + header + entry.body


def unpack(key: str, packed: bytes) -> Entry | None:
    """Return the entry that `pack` made for `key`, or None when the bytes are not whole."""
    digest, _, rest = packed.partition(b"\n")
    if digest != hashlib.sha256(rest).hexdigest().encode():
        return None
    head, _, body = rest.partition(b"\n")
    header = json.loads(head)
    if header["key"] != key:
        return None
    return Entry(header["kind"], header["media_type"], body, header.get("origin", ""))


def _open_cache(directory: Path) -> diskcache.Cache:
    # Eviction and culling are off: diskcache would otherwise throw images away at 1 GiB.
    return diskcache.Cache(
        str(directory), disk=BytesDisk, eviction_policy="none", cull_limit=0, size_limit=2**62, statistics=0
    )


def _read(cache: diskcache.Cache, key: str) -> bytes | None:
    packed: bytes | None = cache.get(key, retry=True)
    return packed


def _write(cache: diskcache.Cache, key: str, packed: bytes) -> None:
    cache.set(key, packed, retry=True)  # retry: another process may be writing


def _checked(key: str) -> str:
    if not KEY.fullmatch(key):
        raise ValueError(f"a key of the store is 64 hexadecimal digits, got {key!r}")
    return key
