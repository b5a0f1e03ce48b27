"""An httpx transport for a vendor's client: one attempt per request, a total timeout, credentials to one origin."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from email.utils import parsedate_to_datetime

import httpx

from duel.images import MAX_BYTES
from duel.services.responses import ENCODINGS, OversizedError, bounded


class HTTPFailure(Exception):
    """A response with status 400 or above; keeps Retry-After, which the vendor's client drops."""

    def __init__(self, status: int, detail: str, retry_after: float | None) -> None:
        super().__init__(f"HTTP {status}: {detail}" if detail else f"HTTP {status}")
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether a retry may succeed: timeouts, rate limits and server errors."""
        return self.status in (408, 425, 429) or self.status >= 500


class SingleTryTransport(httpx.BaseTransport):
    """Sends each request once; retrying is the caller's decision.

    - `seconds()` bounds the whole exchange, body included. (The vendor's client sends a POST without timeout.)
    - A body has at most MAX_BYTES bytes, sent and decompressed, else httpx.ReadError is raised.
    - A status of 400 or above raises HTTPFailure, before the client's own retries can sleep past a deadline.
    - `Authorization` goes to `origin` only. (The vendor's client also sends it to the host that delivers files.)
    """

    def __init__(self, connections: httpx.BaseTransport, origin: str, seconds: Callable[[], float]) -> None:
        self._connections = connections
        self._origin = origin_of(httpx.URL(origin))
        self._seconds = seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return a response below 400 with its whole body. Raises HTTPFailure or httpx.TransportError."""
        seconds = self._seconds()
        end = time.monotonic() + seconds
        request.extensions = {**request.extensions, "timeout": httpx.Timeout(seconds).as_dict()}
        request.headers["Accept-Encoding"] = ENCODINGS
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if origin_of(request.url) != self._origin:
            request.headers.pop("Authorization", None)
        with closing(self._connections.handle_request(request)) as response:
            body = bytearray()
            try:
                for piece in bounded(response.iter_raw(), MAX_BYTES, response.headers.pop("Content-Encoding", "")):
                    body += piece
                    if time.monotonic() > end:
                        raise httpx.ReadTimeout(f"no complete response within {seconds:g} s", request=request)
            except OversizedError as error:
                raise httpx.ReadError(str(error), request=request) from None
        response = httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(bytes(body)))
        if response.status_code >= 400:
            raise http_failure(response, token)
        return response


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return (scheme, host, port), which define an origin; httpx drops a scheme's default port."""
    return url.scheme, url.host, url.port


def http_failure(response: httpx.Response, token: str) -> HTTPFailure:
    """Return the HTTPFailure of an error response (JSON problem or text), with the token redacted from its message."""
    text = response.read().decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict):
        text = ": ".join(str(body[name]).strip() for name in ("title", "detail") if body.get(name))
    if token:
        text = text.replace(token, "[token]")
    wait = retry_after(response.headers.get("Retry-After"), body)
    return HTTPFailure(response.status_code, " ".join(text.split())[:300], wait)


def retry_after(header: str | None, body: object) -> float | None:
    """Return the seconds to wait, from the header (seconds or HTTP date) or the body's `retry_after`, or None."""
    if header is None:
        seconds = body.get("retry_after") if isinstance(body, dict) else None
        return max(0.0, float(seconds)) if isinstance(seconds, int | float) else None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None
