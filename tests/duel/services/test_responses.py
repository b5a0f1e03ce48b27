"""Bodies of responses: at most so many bytes, sent and decompressed."""

import gzip
import itertools
import zlib

import pytest

from duel.services.responses import OversizedError, bounded
from duel.testing.oversized import gzip_bomb

TEXT = b"0123456789" * 1000


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def pieces(data, size=7):
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("", bytes), ("identity", bytes), ("gzip", gzip.compress), (" GZIP", gzip.compress), ("deflate", zlib.compress),
     ("deflate", raw_deflate)],
)  # fmt: skip
def test_a_body_within_the_limit_is_read_as_it_was(encoding, encode):
    assert b"".join(bounded(pieces(encode(TEXT)), len(TEXT), encoding)) == TEXT


def test_a_body_without_end_is_left_at_the_limit():
    sent = iter(itertools.repeat(b"x" * 100))
    with pytest.raises(OversizedError, match=r"larger than 950 bytes \(sent\)"):
        b"".join(bounded(sent, 950))


def test_a_compressed_bomb_is_left_at_the_limit():
    taken: list[int] = []
    with pytest.raises(OversizedError, match=r"larger than 1 MiB \(decompressed\)"):
        taken.extend(len(piece) for piece in bounded([gzip_bomb()], 2**20, "gzip"))
    assert sum(taken) == 2**20
    assert max(taken) <= 2**16


def test_an_unknown_encoding_is_refused_and_broken_data_an_error():
    with pytest.raises(OversizedError, match="compressed as 'br', expected one of gzip, deflate"):
        b"".join(bounded([b"abc"], 100, "br"))
    with pytest.raises(ValueError, match="broken gzip data"):
        b"".join(bounded([b"abcdefghijklmnopqrst"], 100, "gzip"))
