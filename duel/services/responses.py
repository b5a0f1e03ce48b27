"""Bounded reading of HTTP bodies, for httpx and for clients built on its forks: bytes sent and bytes decompressed.

Libraries read a body to its end and decompress each piece whole: a response without end, or 64 KB that decompress to
gigabytes, would take all memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from duel.errors import ServiceError

ENCODINGS = "gzip, deflate"  # for Accept-Encoding: what `decompressed` reads
MIB = 2**20
PIECE = 2**16  # bytes decompressed at once


class OversizedError(ServiceError):
    """A response body is larger than its limit, or compressed in a way that cannot be bounded."""


class Decompressor(Protocol):
    """The part of zlib's decompressors that is used here (protocol)."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What the last call did not read."""

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        """Return at most `max_length` decompressed bytes; what was not read is in `unconsumed_tail`."""


def bounded(chunks: Iterable[bytes], limit: int, encoding: str = "") -> Iterator[bytes]:
    """Yield a body decompressed, at most `limit` bytes of it; `chunks` are as sent, `encoding` is Content-Encoding's.

    Raises OversizedError when more than `limit` bytes come, sent or decompressed, or the encoding is not known, and
    ValueError when the compressed data is broken.
    """
    raw = counted(chunks, limit, "sent")
    return counted(decompressed(raw, encoding.strip().lower()), limit, "decompressed")


def counted(chunks: Iterable[bytes], limit: int, what: str) -> Iterator[bytes]:
    """Yield the chunks. Raises OversizedError once they are more than `limit` bytes together."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise OversizedError(f"the response is larger than {size(limit)} ({what}), which no valid answer is")
        yield chunk


def decompressed(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the chunks decompressed, in pieces of at most PIECE bytes."""
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise OversizedError(f"the response is compressed as {encoding[:40]!r}, expected one of {ENCODINGS}")
    for number, chunk in enumerate(chunks):
        if number == 0:
            decompressor = _decompressor(encoding, chunk)
        rest = chunk
        while rest:
            try:
                piece = decompressor.decompress(rest, PIECE)
            except zlib.error as error:
                raise ValueError(f"the response is broken {encoding} data: {error}") from None
            rest = decompressor.unconsumed_tail
            yield piece


def _decompressor(encoding: str, start: bytes) -> Decompressor:
    if encoding != "deflate":
        return zlib.decompressobj(zlib.MAX_WBITS | 16)
    # deflate means zlib's format, but some servers send it without zlib's header, whose first byte is 0x78 in practice
    return zlib.decompressobj(zlib.MAX_WBITS if start[:1] == b"\x78" else -zlib.MAX_WBITS)


def size(count: int) -> str:
    """Return a number of bytes for an error message."""
    return f"{count / MIB:.3g} MiB" if count >= MIB else f"{count} bytes"
