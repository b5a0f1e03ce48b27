"""Disk store of blobs by SHA-256 key: checksummed, never evicted, each key computed once across processes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from cache.index import open_index
from duel.closing import Closing
from duel.errors import RunError, ServiceError, StorageError, is_damage, storing

log = logging.getLogger(__name__)

WAIT = 1800.0  # seconds; longer than a draw or a grade may take, with all its retries
FIRST_SAID = 5.0  # seconds of waiting until it is logged; then after each doubling
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """The value stored under one key."""

    kind: str  # type tag of the store above, e.g. image or refusal
    media_type: str  # e.g. image/png
    body: bytes
    origin: str = ""  # who stored it first, e.g. `run/round/stage`; empty: not said


class BlobStore(Closing):
    """A disk store shared by threads and processes.

    Keys are SHA-256 hex digests. Nothing is evicted. Each entry's checksum is verified at every read; a damaged entry
    counts as missing. The index is rebuilt from the entries' files when it is lost or damaged. One thread owns the
    database connection, so that `close` may be called from any thread.

    `name` is the store's name in messages, `wait_seconds` how long `get_or_make` waits for another caller.
    Raises RunError when `directory` cannot be used, StorageError when its index is damaged and in use elsewhere; all
    methods raise StorageError when the disk is full or failing.
    """

    def __init__(self, directory: Path, name: str, wait_seconds: float = WAIT) -> None:
        self.directory = directory
        self.name = name
        self.wait_seconds = wait_seconds
        self._locks = directory / "locks"
        self._closed = False
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="blob-store")
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            # Every store's subfolder is called images, for compatibility with existing stores.
            self._opened = ExitStack()
            index = open_index(directory / "images", self._locks / "index", _open_cache, key_of)
            self._cache = self._owner.submit(self._opened.enter_context, index).result()
        except StorageError:
            self._owner.shutdown()
            raise
        except (OSError, sqlite3.Error) as error:
            self._owner.shutdown()
            raise RunError(
                f"cannot open the {name} {directory}: {error}; expected a directory that can be written"
            ) from None

    def get(self, key: str) -> Entry | None:
        """Return the entry under `key`, or None when it is missing or damaged."""
        with self._storing():
            packed = self._owner.submit(_read, self._cache, _checked(key)).result()
        return None if packed is None else unpack(key, packed)

    def put(self, key: str, entry: Entry) -> None:
        """Store `entry` under `key`; it is durable against a kill once this returns."""
        packed = pack(_checked(key), entry)
        with self._storing():
            self._owner.submit(_write, self._cache, key, packed).result()

    def get_or_make(self, key: str, make: Callable[[], Entry]) -> Entry:
        """Return the entry under `key`; if it is missing, call `make`, store its result and return it.

        If several threads or processes want the same key, one calls `make` and the others wait for it. Exceptions of
        `make` propagate, nothing is stored, and a waiting caller tries next. Raises ServiceError after waiting for
        `wait_seconds`.
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
        """Return the number of entries, damaged ones included."""
        return int(self._owner.submit(self._cache.__len__).result())

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        if not self._closed:
            self._closed = True
            self._owner.submit(self._opened.close).result()
            self._owner.shutdown()

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        # flock belongs to the open file, so it also excludes threads, and the kernel releases it when a process dies.
        # One lock file per 3 digits bounds the number of files; keys that share one merely wait for each other.
        descriptor = os.open(self._locks / key[:3], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._wait_for(descriptor, key)
            yield
        finally:
            # Unlock explicitly: a child process forked meanwhile holds a copy of the descriptor.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _wait_for(self, descriptor: int, key: str) -> None:
        started, said = time.monotonic(), FIRST_SAID
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                waited = time.monotonic() - started
            if waited > self.wait_seconds:
                raise ServiceError(
                    f"entry {key[:12]} of the {self.name} {self.directory} has been in the making elsewhere for "
                    f"{waited:.0f} s; is another run waiting for its service? Try again when it is done, or stop it"
                )
            if waited > said:
                log.warning("entry %s of the %s is in the making elsewhere; waiting for it", key[:12], self.name)
                said *= 2
            time.sleep(min(0.5, 0.01 + waited / 20))

    @contextmanager
    def _storing(self) -> Iterator[None]:
        with storing(self.directory):
            try:
                yield
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                raise StorageError(
                    f"the index of the {self.name} {self.directory} is damaged: {error}; the files beside it are safe; "
                    "run the same command again, it rebuilds the index from them"
                ) from error


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no type hints
    """A diskcache Disk restricted to str keys and bytes values, so that pickle is neither written nor read."""

    def put(self, key: Any) -> tuple[str, bool]:
        """Encode a key for the database. Raises TypeError unless it is a str."""
        if type(key) is not str:
            raise TypeError(f"the store's keys are text, got {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: bool) -> str:
        """Decode a key from the database. Raises TypeError if Duel did not write it."""
        if not raw or type(key) is not str:
            raise TypeError("a key of the store is not text; it was not written by Duel")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> Any:
        """Encode a value for the database. Raises TypeError unless it is bytes."""
        if type(value) is not bytes or read:
            raise TypeError(f"the store holds bytes, got {type(value).__name__}")
        return super().store(value, False, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> bytes | None:
        """Decode a value from the database, or return None if it is of a type that `store` never writes."""
        if mode not in (MODE_RAW, MODE_BINARY) or (mode == MODE_RAW and type(value) is not bytes):
            return None
        entry: bytes = super().fetch(mode, filename, value, read)
        return entry


def pack(key: str, entry: Entry) -> bytes:
    """Serialise an entry: SHA-256 of all that follows, a line of JSON, and the body unchanged."""
    fields = {"key": key, "kind": entry.kind, "media_type": entry.media_type, "origin": entry.origin}
    header = json.dumps(fields).encode() + b"\n"
    return hashlib.sha256(header + entry.body).hexdigest().encode() + b"\n" + header + entry.body


def unpack(key: str, packed: bytes) -> Entry | None:
    """Return the entry that `pack` serialised for `key`, or None when the checksum or key does not match."""
    digest, _, rest = packed.partition(b"\n")
    if digest != hashlib.sha256(rest).hexdigest().encode():
        return None
    head, _, body = rest.partition(b"\n")
    header = json.loads(head)
    if header["key"] != key:
        return None
    return Entry(header["kind"], header["media_type"], body, header.get("origin", ""))


def key_of(packed: bytes) -> str | None:
    """Return the key in what `pack` serialised, or None where it is damaged."""
    digest, _, rest = packed.partition(b"\n")
    if digest != hashlib.sha256(rest).hexdigest().encode():
        return None
    return str(json.loads(rest.partition(b"\n")[0])["key"])


def _open_cache(directory: Path) -> diskcache.Cache:
    # Eviction and culling are off; by default diskcache deletes entries above 1 GiB. Every entry is a file, so that the
    # index can be rebuilt; by default entries below 32 KiB are in the database.
    return diskcache.Cache(
        str(directory),
        disk=BytesDisk,
        eviction_policy="none",
        cull_limit=0,
        size_limit=2**62,
        statistics=0,
        disk_min_file_size=0,
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
