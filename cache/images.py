"""The image store: every image that was ever drawn, by the hash of its request, so that none is paid for twice."""

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
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from duel.closing import Closing
from duel.errors import RunError
from duel.types import DrawnImage, Refusal

KEY = re.compile(r"[0-9a-f]{64}")


class ImageStore(Closing):
    """Images and refusals on disk, safe to share between threads and between processes.

    Keys are SHA-256 hex digests (`DrawRequest.key`, or the hash of an image's own bytes). Nothing is ever
    evicted. An entry carries its own hash, which is checked at every read; a damaged entry counts as missing.
    One thread owns the database connection, so that `close` can close it whoever asks.

    Raises RunError when `directory` cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._locks = directory / "locks"
        self._closed = False
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="image-store")
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            self._cache = self._owner.submit(_open_cache, directory / "images").result()
        except (OSError, sqlite3.Error) as error:
            self._owner.shutdown()
            raise RunError(
                f"cannot open the image store {directory}: {error}; expected a directory that can be written"
            ) from None

    def get(self, key: str) -> DrawnImage | Refusal | None:
        """Return what is stored under `key`, or None when nothing is, or only damaged bytes are."""
        entry = self._owner.submit(_read, self._cache, _checked(key)).result()
        return None if entry is None else unpack(key, entry)

    def put(self, key: str, result: DrawnImage | Refusal) -> None:
        """Store `result` under `key`; it survives the death of this process from the moment this returns."""
        entry = pack(_checked(key), result)
        self._owner.submit(_write, self._cache, key, entry).result()

    def draw_once(self, key: str, draw: Callable[[], DrawnImage | Refusal]) -> tuple[DrawnImage | Refusal, bool]:
        """Return what is stored under `key`, calling `draw` first if nothing is, and whether it was called.

        Of several threads or processes that want one key, one draws and the others wait for it. An exception
        of `draw` passes through, stores nothing, and lets the next one try.
        """
        found = self.get(key)
        if found is not None:
            return found, False
        with self._locked(key):
            found = self.get(key)
            if found is not None:
                return found, False
            drawn = draw()
            self.put(key, drawn)
            return drawn, True

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
            raise TypeError(f"the image store's keys are text, got {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: bool) -> str:
        """Return the key of the database's form."""
        if not raw or type(key) is not str:
            raise TypeError("a key of the image store is not text; it was not written by Duel")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> Any:
        """Return the database's form of a value."""
        if type(value) is not bytes or read:
            raise TypeError(f"the image store holds bytes, got {type(value).__name__}")
        return super().store(value, False, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> bytes | None:
        """Return the bytes of the database's form, or None if they are of a kind that `store` never writes."""
        if mode not in (MODE_RAW, MODE_BINARY) or (mode == MODE_RAW and type(value) is not bytes):
            return None
        entry: bytes = super().fetch(mode, filename, value, read)
        return entry


def pack(key: str, result: DrawnImage | Refusal) -> bytes:
    """Return an entry: SHA-256 of all that follows, a line of JSON, and the bytes as they came."""
    if isinstance(result, DrawnImage):
        kind, media_type, body = "image", result.media_type, result.data
    elif isinstance(result, Refusal):
        kind, media_type, body = "refusal", "text/plain", result.reason.encode("utf-8", "surrogatepass")
    else:
        raise TypeError(f"the image store holds DrawnImage and Refusal, got {type(result).__name__}")
    header = json.dumps({"key": key, "kind": kind, "media_type": media_type}).encode() + b"\n"
    return hashlib.sha256(header + body).hexdigest().encode() + b"\n" + header + body


def unpack(key: str, entry: bytes) -> DrawnImage | Refusal | None:
    """Return the result that `pack` wrote under `key`, or None when the entry is not whole."""
    digest, _, rest = entry.partition(b"\n")
    if digest != hashlib.sha256(rest).hexdigest().encode():
        return None
    head, _, body = rest.partition(b"\n")
    header = json.loads(head)
    if header["key"] != key:
        return None
    if header["kind"] == "refusal":
        return Refusal(body.decode("utf-8", "surrogatepass"))
    return DrawnImage(body, header["media_type"])


def _open_cache(directory: Path) -> diskcache.Cache:
    # Eviction and culling are off: diskcache would otherwise throw images away at 1 GiB.
    return diskcache.Cache(
        str(directory), disk=BytesDisk, eviction_policy="none", cull_limit=0, size_limit=2**62, statistics=0
    )


def _read(cache: diskcache.Cache, key: str) -> bytes | None:
    entry: bytes | None = cache.get(key, retry=True)
    return entry


def _write(cache: diskcache.Cache, key: str, entry: bytes) -> None:
    cache.set(key, entry, retry=True)  # retry: another process may be writing


def _checked(key: str) -> str:
    if not KEY.fullmatch(key):
        raise ValueError(f"a key of the image store is 64 hexadecimal digits, got {key!r}")
    return key
