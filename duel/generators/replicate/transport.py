"""How requests of a vendor's client reach the network: once, in bounded time, the token to one host only."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from email.utils import parsedate_to_datetime

import httpx


class HTTPFailure(Exception):
    """An answer with status 400 or above, with what the client libraries drop: the wait that was asked for."""

    def __init__(self, status: int, detail: str, retry_after: float | None) -> None:
        super().__init__(f"HTTP {status}: {detail}" if detail else f"HTTP {status}")
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later: timeouts, throttling and errors of the server."""
        return self.status in (408, 425, 429) or self.status >= 500


class SingleTryTransport(httpx.BaseTransport):
    """Sends a request once; whoever called decides whether to try again.

    - `seconds()` bounds the whole exchange, body included. (The vendor's client sends a POST with no timeout.)
    - An answer of 400 or above raises HTTPFailure, before the client's own retries can sleep past a deadline.
    - `Authorization` goes to `origin` only. (The vendor's client also sends it to where files are delivered.)
    """

    def __init__(self, connections: httpx.BaseTransport, origin: str, seconds: Callable[[], float]) -> None:
        self._connections = connections
        self._origin = place(httpx.URL(origin))
        self._seconds = seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return an answer below 400, read to its end. Raises HTTPFailure, or httpx.TransportError."""
        seconds = self._seconds()
        end = time.monotonic() + seconds
        request.extensions = {**request.extensions, "timeout": httpx.Timeout(seconds).as_dict()}
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if place(request.url) != self._origin:
            request.headers.pop("Authorization", None)
        with closing(self._connections.handle_request(request)) as response:
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if time.monotonic() > end:
                    raise httpx.ReadTimeout(f"no whole answer within {seconds:g} s", request=request)
        answer = httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(bytes(body)))
        if answer.status_code >= 400:
            raise failure_of(answer, token)
        return answer


def place(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return what makes two addresses one origin; httpx leaves out a scheme's usual port."""
    return url.scheme, url.host, url.port


def failure_of(answer: httpx.Response, token: str) -> HTTPFailure:
    """Read what an error says of itself; the token is struck out, should it be quoted."""
    text = answer.read().decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict):
        text = ": ".join(str(body[name]).strip() for name in ("title", "detail") if body.get(name))
    if token:
        text = text.replace(token, "[token]")
    asked = retry_after(answer.headers.get("Retry-After"), body)
    return HTTPFailure(answer.status_code, " ".join(text.split())[:300], asked)


def retry_after(header: str | None, body: object) -> float | None:
    """Return the seconds asked for, from the header (seconds or a date) or from the body's `retry_after`."""
    if header is None:
        asked = body.get("retry_after") if isinstance(body, dict) else None
        return max(0.0, float(asked)) if isinstance(asked, int | float) else None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None
