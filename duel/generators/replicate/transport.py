"""An httpx transport for a vendor's client: one attempt per request, a total timeout, credentials to one origin."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from email.utils import parsedate_to_datetime

import httpx

from duel.generators.replicate.clock import ServiceClock
from duel.generators.replicate.prediction import parse_json, shortened
from duel.images import MAX_BYTES
from duel.services.network import MOST_REDIRECTS, html_page, redirected
from duel.services.responses import ENCODINGS, OversizedError, bounded

LONGEST_WAIT = 1e9  # seconds; bounds what a service may ask for, so that it can be added and compared


class HTTPFailure(Exception):
    """A response with status 400 or above; keeps Retry-After, which the vendor's client drops."""

    def __init__(
        self, status: int, detail: str, retry_after: float | None, invalid_fields: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(f"HTTP {status}: {detail}" if detail else f"HTTP {status}")
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.invalid_fields = invalid_fields  # (field, kind of error) of a 422

    @property
    def retryable(self) -> bool:
        """Whether a retry may succeed: timeouts, rate limits and server errors."""
        return self.status in (408, 425, 429) or self.status >= 500

    @property
    def rate_limited(self) -> bool:
        """Whether the service asks to wait, instead of having failed."""
        return self.status == 429 or (self.status == 503 and self.retry_after is not None)


class SingleTryTransport(httpx.BaseTransport):
    """Sends each request once; retrying is the caller's decision.

    - `seconds()` bounds the whole exchange, body included. (The vendor's client sends a POST without timeout.)
    - A body has at most MAX_BYTES bytes, sent and decompressed, else httpx.ReadError is raised.
    - A status of 400 or above raises HTTPFailure, before the client's own retries can sleep past a deadline.
    - `Authorization` goes to `origin` only. (The vendor's client also sends it to the host that delivers files.)
    - A GET follows MOST_REDIRECTS redirects, without `Authorization`. (The vendor's client follows none to a file.)
    - `clock` learns the time of `origin` from its responses.
    """

    def __init__(
        self,
        connections: httpx.BaseTransport,
        origin: str,
        seconds: Callable[[], float],
        clock: ServiceClock | None = None,
    ) -> None:
        self._connections = connections
        self._origin = origin_of(httpx.URL(origin))
        self._seconds = seconds
        self._clock = clock or ServiceClock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return a response below 400 with its whole body. Raises HTTPFailure or httpx.TransportError."""
        seconds = self._seconds()
        sent = time.monotonic()
        request.extensions = {**request.extensions, "timeout": httpx.Timeout(seconds).as_dict()}
        request.headers["Accept-Encoding"] = ENCODINGS
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if origin_of(request.url) != self._origin:
            request.headers.pop("Authorization", None)
        for _ in range(MOST_REDIRECTS + 1):
            response, followed = self._exchange(request, sent, seconds)
            if followed is None:
                break
            request = followed
        else:
            raise httpx.ReadError(f"more than {MOST_REDIRECTS} redirects", request=request)
        if response.status_code >= 400:
            raise http_failure(response, token, self._clock.now())
        return response

    def _exchange(
        self, request: httpx.Request, sent: float, seconds: float
    ) -> tuple[httpx.Response, httpx.Request | None]:
        """Return a response with its whole body, and the request that it redirects to, if any."""
        end = sent + seconds
        with closing(self._connections.handle_request(request)) as response:
            if origin_of(request.url) == self._origin:
                self._clock.observe(response.headers.get("Date"), sent, time.monotonic())
            body = bytearray()
            try:
                for piece in bounded(response.iter_raw(), MAX_BYTES, response.headers.pop("Content-Encoding", "")):
                    body += piece
                    if time.monotonic() > end:
                        raise httpx.ReadTimeout(f"no complete response within {seconds:g} s", request=request)
            except OversizedError as error:
                raise httpx.ReadError(str(error), request=request) from None
        whole = httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(bytes(body)))
        return whole, redirected(request, whole)


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return (scheme, host, port), which define an origin; httpx drops a scheme's default port."""
    return url.scheme, url.host, url.port


def http_failure(response: httpx.Response, token: str, now: float | None = None) -> HTTPFailure:
    """Return the HTTPFailure of an error response (JSON problem or text), with the token redacted from its message."""
    text = response.read().decode("utf-8", "replace")
    try:
        body = parse_json(text)
    except ValueError:
        body = None
    text = html_page(text) or text
    if isinstance(body, dict):
        text = ": ".join(shortened(body[name], 4000) for name in ("title", "detail") if body.get(name))
    if token:
        text = text.replace(token, "[token]")
    wait = retry_after(response.headers.get("Retry-After"), body, now)
    return HTTPFailure(response.status_code, shortened(text, 300), wait, invalid_fields(body))


def invalid_fields(body: object) -> list[tuple[str, str]]:
    """Return (field, kind of error) of each validation error in a problem document."""
    errors = body.get("invalid_fields") if isinstance(body, dict) else None
    return [
        (shortened(error.get("field"), 100), shortened(error.get("type"), 100))
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]


def retry_after(header: str | None, body: object, now: float | None = None) -> float | None:
    """Return the seconds to wait, from the header (seconds or HTTP date) or the body's `retry_after`, or None.

    `now` is the Unix time by the clock of whoever wrote the date; None: the local clock's.
    """
    if header is None:
        return _seconds(body.get("retry_after")) if isinstance(body, dict) else None
    try:
        return _seconds(float(header))
    except ValueError:
        pass
    try:
        return _seconds(parsedate_to_datetime(header).timestamp() - (time.time() if now is None else now))
    except (ValueError, OverflowError):
        return None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return float(min(max(value, 0), LONGEST_WAIT))
