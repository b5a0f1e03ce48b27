"""Small bodies that become large: a compressed bomb, and PNG files of any width and height."""

from __future__ import annotations

import gzip
import struct
import zlib
from functools import lru_cache

ENDLESS_BYTES = 2**28  # when the fault `endless` gives up, so that a client that reads everything still ends


@lru_cache(maxsize=4)
def gzip_bomb(size: int = 2**28) -> bytes:
    """Return gzip data that decompresses to `size` zeros, about 1000 : 1."""
    return gzip.compress(bytes(size), 6)


@lru_cache(maxsize=4)
def blank_png(width: int, height: int) -> bytes:
    """Return a valid PNG of black pixels, one bit each; 13,000 x 13,000 of them take 20 kB."""
    rows = zlib.compress((b"\0" + bytes(-(-width // 8))) * height, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    parts = [struct.pack(">I", len(data)) + kind + data + _crc(kind + data) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))
