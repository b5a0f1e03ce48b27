"""Keys, proxies, redirects, certificates and HTML pages, with real servers on loopback."""

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from huggingface_hub import close_session

import duel.testing
from duel.data.download import fetch, resolve_hub_file
from duel.errors import DataError, JudgeError, ServiceError, SettingsError, UserError
from duel.generators.replicate.prediction import parse_json
from duel.generators.replicate.transport import HTTPFailure, SingleTryTransport
from duel.judges.openai_judge import OpenAIJudge
from duel.rubrics import read_rubrics
from duel.services.addresses import service_address
from duel.services.network import Connections, check_key, html_page, proxy_for
from duel.testing.openai import completion
from duel.types import Question

PORTAL = "<!DOCTYPE html><html><head><title>Caf&eacute; Wi-Fi:\n log in</title></head><body>Accept</body></html>"
RUBRICS = read_rubrics(Path(next(iter(duel.testing.__path__))) / "constants.py")
ASKED = Question("0", "0.png", "What is the title?", "heat", 1)


@contextmanager
def server(respond, context: ssl.SSLContext | None = None, tunnels: list[str] | None = None) -> Iterator[str]:
    """Run a server on loopback; `respond(path, headers)` returns status, headers and body. Yields its address.

    With `tunnels` it is a proxy for HTTPS, too: it notes each host asked for, and answers in its place by `context`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = respond(self.path, self.headers)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_POST = do_HEAD = do_GET

        def do_CONNECT(self):
            tunnels.append(self.path)
            self.send_response(200)
            self.end_headers()
            inner = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = inner.makefile("rb"), inner.makefile("wb")
            self.handle_one_request()
            self.wfile.flush()
            inner.close()
            self.close_connection = True

        def log_message(self, *_):
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_):
            """Clients that do not trust the certificate close the connection."""

    running = Quiet(("127.0.0.1", 0), Handler)
    if context is not None and tunnels is None:
        running.socket = context.wrap_socket(running.socket, server_side=True)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"{'http' if context is None or tunnels is not None else 'https'}://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate of 127.0.0.1 and service.example, signed by itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("service.example")]
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    signed = (
        builder.not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(encoding))
    return path


@pytest.fixture(scope="module")
def self_signed(certificate: Path) -> ssl.SSLContext:
    """A server's side of the certificate, which nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@contextmanager
def client(origin: str) -> Iterator[httpx.Client]:
    """A client with the transport of the paid generator, which sends a token."""
    connections = Connections(keepalive=1)
    transport = SingleTryTransport(connections, origin, lambda: 5.0)
    with httpx.Client(transport=transport, headers={"Authorization": "Bearer secret"}) as made:
        yield made
    connections.close()


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("sk-abc\u2013def", "character 7 of 10 is EN DASH"),
        ("sk two", "character 3 of 6 is SPACE"),
        ("“sk-abc”", "character 1 of 8 is LEFT DOUBLE QUOTATION MARK"),
        ("sk-\u200babc", "character 4 of 7 is ZERO WIDTH SPACE"),
    ],
)
def test_a_key_that_a_document_changed_is_refused_and_its_fault_named(key, named):
    with pytest.raises(SettingsError, match=named) as raised:
        check_key(key, "OPENAI_API_KEY")
    assert key not in str(raised.value)


def test_spaces_around_a_key_are_left_out():
    assert check_key(" sk-abc\n", "OPENAI_API_KEY") == "sk-abc"


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_address_is_the_default(monkeypatch, value):
    monkeypatch.setenv("OPENAI_BASE_URL", value)
    assert service_address("OPENAI_BASE_URL", "https://api.openai.com/v1") == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("api.example.com/v1", "has no scheme; expected https://api.example.com/v1"),
        ("ftp://example.com", "expected an address with https://"),
        ("https://exa mple.com", "expected an address such as"),
    ],
)
def test_an_address_that_is_none_is_named_with_its_variable(monkeypatch, value, message):
    monkeypatch.setenv("OPENAI_BASE_URL", value)
    with pytest.raises(SettingsError, match=f"OPENAI_BASE_URL.*{message}"):
        service_address("OPENAI_BASE_URL", "https://api.openai.com/v1")


def test_proxies_are_those_of_the_environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "internal.example")
    urls = ["https://api.replicate.com/v1", "https://x.internal.example", "http://plain.example", "https://127.0.0.1:1"]
    assert [proxy_for(url) for url in urls] == ["http://proxy.example:3128", None, None, None]


def test_requests_go_through_the_proxy(monkeypatch):
    asked = []

    def respond(path, headers):
        asked.append((path, headers.get("Host")))
        return 200, {}, b"through"

    with server(respond) as address:
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with client("http://service.example") as http:
            assert http.get("http://service.example/file").text == "through"
    assert asked == [("http://service.example/file", "service.example")]


def grade(reply: str) -> bytes:
    """Return a chat completion with this text."""
    return json.dumps(completion("gpt-4.1", reply, "stop")).encode()


VERDICT = '{"extracted_answer": "heat", "score": 1}'


@pytest.fixture
def only_a_proxy(monkeypatch):
    """A function that names a proxy in the environment, as the only way out."""

    def name(variable: str, address: str) -> None:
        for other in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            monkeypatch.delenv(other, raising=False)
            monkeypatch.delenv(other.lower(), raising=False)
        monkeypatch.setenv(variable, address)

    return name


def test_judge_and_downloads_go_through_the_proxy(only_a_proxy, monkeypatch, tmp_path):
    asked = []

    def respond(path, headers):
        asked.append(path)
        return 200, {"Content-Type": "application/json"}, grade(VERDICT)

    with server(respond) as address:
        only_a_proxy("HTTP_PROXY", address)
        monkeypatch.setenv("OPENAI_BASE_URL", "http://service.example/v1")
        judge = OpenAIJudge("gpt-4.1", RUBRICS, api_key="sk-1", deadline_seconds=5)
        assert judge.grade(ASKED, ["heat"])[0].score == 1
        judge.close()
        close_session()  # the download library's, which read the environment at its first request
        fetch("http://service.example/file", tmp_path / "file", len(grade(VERDICT)))
        close_session()
    assert asked == ["http://service.example/v1/chat/completions", "http://service.example/file"]


def test_https_goes_through_a_tunnel_of_the_proxy(only_a_proxy, monkeypatch, tmp_path, self_signed, certificate):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # trusted, as that of a network that inspects traffic
    tunnels: list[str] = []
    answer = 200, {"Content-Type": "application/json", "Connection": "close"}, grade(VERDICT)
    with server(lambda *_: answer, self_signed, tunnels) as address:
        only_a_proxy("HTTPS_PROXY", address)
        with client("https://service.example") as http:
            assert http.get("https://service.example/file").content == grade(VERDICT)
        monkeypatch.setenv("OPENAI_BASE_URL", "https://service.example/v1")
        judge = OpenAIJudge("gpt-4.1", RUBRICS, api_key="sk-1", deadline_seconds=5)
        assert judge.grade(ASKED, ["heat"])[0].score == 1
        judge.close()
        close_session()
        fetch("https://service.example/file", tmp_path / "file", len(grade(VERDICT)))
        close_session()
    assert tunnels == ["service.example:443"] * 3


def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://user:hidden@proxy.example")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with (
        client("http://service.example") as http,
        pytest.raises(UserError, match=r"gopher://….*cannot be used") as raised,
    ):
        http.get("http://service.example")
    assert "hidden" not in str(raised.value)


def test_a_redirected_file_is_followed_without_the_token():
    seen = []

    def deliver(path, headers):
        seen.append(headers.get("Authorization"))
        return 200, {}, b"image"

    with server(deliver) as files:

        def redirect(path, headers):
            seen.append(headers.get("Authorization"))
            return 302, {"Location": f"{files}/image.png"}, b""

        with server(redirect) as origin, client(origin) as http:
            assert http.get(f"{origin}/file").content == b"image"
    assert seen == ["Bearer secret", None]


@pytest.mark.parametrize(
    ("location", "message"), [("/again", "more than 5 redirects"), ("file:///etc/passwd", "expected https")]
)
def test_a_redirect_without_end_or_to_a_file_is_refused(location, message):
    turns = iter(range(100))

    def respond(path, headers):
        return 302, {"Location": f"{location}?{next(turns)}"}, b""

    with server(respond) as origin, client(origin) as http, pytest.raises(httpx.ReadError, match=message):
        http.get(f"{origin}/file")


def test_an_untrusted_certificate_is_said_at_once_by_generator_judge_and_download(self_signed, tmp_path, monkeypatch):
    with server(lambda *_: (200, {}, b"{}"), self_signed) as origin:
        with client(origin) as http, pytest.raises(UserError, match=r"127.0.0.1 is not trusted \(self.signed"):
            http.get(origin)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{origin}/v1")
        judge = OpenAIJudge("gpt-4.1", RUBRICS, api_key="sk-1", deadline_seconds=5)
        with pytest.raises(UserError, match="certificate of 127.0.0.1 is not trusted"):
            judge.grade(ASKED, ["heat"])
        judge.close()
        with pytest.raises(DataError, match="certificate of 127.0.0.1 is not trusted.*SSL_CERT_FILE"):
            fetch(f"{origin}/file", tmp_path / "file", 2)


def test_a_login_page_in_the_services_place_is_named(monkeypatch):
    page = "an HTML page titled 'Café Wi-Fi: log in', not the service's answer"
    assert page in (html_page(PORTAL) or "")
    assert html_page('{"detail": "<html>"}') is None
    with pytest.raises(ValueError, match=page):
        parse_json(PORTAL)
    forbidden = 403, {"Content-Type": "text/html"}, PORTAL.encode()
    with server(lambda *_: forbidden) as origin, client(origin) as http, pytest.raises(HTTPFailure, match=page):
        http.get(origin)
    with server(lambda *_: (200, {"Content-Type": "text/html"}, PORTAL.encode())) as origin:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{origin}/v1")
        judge = OpenAIJudge("gpt-4.1", RUBRICS, api_key="sk-1", deadline_seconds=5)
        with pytest.raises(JudgeError, match=f"127.0.0.1 answers with {page}"):
            judge.grade(ASKED, ["heat"])
        judge.close()


def portal(status=200):
    """Return what a captive portal answers to every request."""
    return status, {"Content-Type": "text/html"}, PORTAL.encode()


@pytest.mark.parametrize("size", [None, len(PORTAL.encode()), 40, 10_000])
def test_a_login_page_in_a_files_place_is_named_and_not_kept(tmp_path, size):
    page = "answers with an HTML page" + ("" if size == 40 else " titled 'Café Wi-Fi: log in'")  # 40: before its title
    with server(lambda *_: portal()) as origin, pytest.raises(ServiceError, match=page):
        fetch(f"{origin}/images.zip", tmp_path / "images.zip", size)
    assert list(tmp_path.iterdir()) == []


def test_a_login_page_in_the_hubs_place_is_a_failed_service():
    lacking = "the response lacks commit, hash or size; check HF_ENDPOINT"
    with server(lambda *_: portal()) as origin, pytest.raises(ServiceError, match=lacking):
        resolve_hub_file("princeton-nlp/CharXiv", "images.zip", "main", origin)
