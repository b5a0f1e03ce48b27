"""The HTTP client under OpenAI's client library: bounded bodies, and no retries where a certificate is not trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2  # the client library's HTTP library
import openai

from duel.errors import UserError
from duel.services.network import is_untrusted, untrusted
from duel.services.responses import MIB, bounded

MAX_REPLY = 4 * MIB  # bytes of a response


class TrustingClient(openai.DefaultHttpxClient):
    """The client library's HTTP client; a certificate that is not trusted ends a request at once.

    The library would retry it like any failure to connect.
    """

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request. Raises UserError for a certificate that is not trusted."""
        try:
            return super().send(request, **options)
        except httpx2.ConnectError as error:
            if not is_untrusted(error):
                raise
            message = untrusted(request.url.host, error)
        raise UserError(message)


class BoundedBody(httpx2.SyncByteStream):
    """A response's body, decompressed, of at most MAX_REPLY bytes; `check` is called for each piece and may raise."""

    def __init__(self, body: httpx2.SyncByteStream, encoding: str, check: Callable[[], None]) -> None:
        self._body = body
        self._encoding = encoding
        self._check = check

    def __iter__(self) -> Iterator[bytes]:
        for piece in bounded(self._body, MAX_REPLY, self._encoding):
            self._check()
            yield piece

    def close(self) -> None:
        """Close the connection, or give it back to the pool."""
        self._body.close()
