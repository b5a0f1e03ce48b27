"""SingleTryTransport: one attempt, a total timeout, credentials to one origin."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate

import httpx
import pytest

from duel.generators.replicate.transport import HTTPFailure, SingleTryTransport, retry_after
from duel.testing.serving import Handler, Server

TOKEN = "r8_secret"


class Peculiar(Handler):
    """Responds by path: `/drip` a byte per 50 ms, `/quote` an error quoting the token, `/token` the token received."""

    def do_GET(self) -> None:
        if self.path == "/drip":
            self.send(200, b"", {}, announced=100)
            for _ in range(100):
                self.wfile.write(b".")
                time.sleep(0.05)
        elif self.path == "/quote":
            self.answer(401, {"title": "Unauthenticated", "detail": f"{self.headers['Authorization']}\nis not known"})
        elif self.path == "/busy":
            self.server.__dict__.setdefault("asked", []).append(1)
            self.answer(503, {"detail": "busy"}, {"Retry-After": "3600"})
        else:
            self.send(200, self.headers.get("Authorization", "none").encode(), {})


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(Peculiar) as started:
        yield started


@contextmanager
def client(server: Server, seconds: float = 5.0, origin: str | None = None) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.HTTPTransport() as connections:
        transport = SingleTryTransport(connections, origin or server.url, lambda: seconds)
        with httpx.Client(transport=transport, base_url=server.url, headers=headers) as connected:
            yield connected


def test_a_slow_body_is_aborted_at_the_timeout(server):
    began = time.monotonic()
    with client(server, seconds=0.3) as connected, pytest.raises(httpx.ReadTimeout):
        connected.get("/drip")
    assert time.monotonic() - began < 0.6


def test_an_http_error_is_raised_without_retry_and_with_its_retry_after(server):
    with client(server) as connected, pytest.raises(HTTPFailure) as caught:
        connected.get("/busy")
    assert (caught.value.status, caught.value.retry_after, str(caught.value)) == (503, 3600.0, "HTTP 503: busy")
    assert caught.value.retryable
    assert server.__dict__["asked"] == [1]


def test_a_token_quoted_in_an_error_is_redacted(server):
    with client(server) as connected, pytest.raises(HTTPFailure) as caught:
        connected.get("/quote")
    assert str(caught.value) == "HTTP 401: Unauthenticated: Bearer [token] is not known"
    assert not caught.value.retryable


def test_the_token_goes_to_its_origin_only(server):
    with client(server) as connected:
        assert connected.get("/token").text == f"Bearer {TOKEN}"
    with client(server, origin="https://api.replicate.com") as connected:
        assert connected.get("/token").text == "none"


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [
        ("2", None, 2.0),
        ("0.5", {"retry_after": 9}, 0.5),
        (None, {"retry_after": 9}, 9.0),
        (None, {}, None),
        (None, ["no object"], None),
        ("soon", None, None),
        ("-3", None, 0.0),
        (formatdate(0, usegmt=True), None, 0.0),
        ("nan", None, None),
        ("inf", None, 1e9),
        ("9" * 400, None, 1e9),
        (None, {"retry_after": 10**400}, 1e9),
        (None, {"retry_after": "2"}, None),
        (None, {"retry_after": True}, None),
    ],
)
def test_retry_after_is_read_from_header_or_body(header, body, seconds):
    assert retry_after(header, body) == seconds


def test_retry_after_may_be_a_date():
    assert retry_after(formatdate(time.time() + 60, usegmt=True), None) == pytest.approx(60, abs=2)
    assert retry_after(formatdate(5060, usegmt=True), None, now=5000.0) == 60.0  # by the clock of whoever wrote it
