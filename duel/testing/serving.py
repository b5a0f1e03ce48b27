"""A threaded HTTP server on 127.0.0.1 whose handlers can also hang, truncate a body or reset the connection."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from duel.testing.oversized import ENDLESS_BYTES, gzip_bomb


class Handler(BaseHTTPRequestHandler):
    """Sends JSON and bytes over keep-alive connections; can fail on purpose."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each response waits 40 ms for the client's delayed ACK
    server: Server

    def answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON response."""
        self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send(self, status: int, body: bytes, headers: Mapping[str, str], announced: int | None = None) -> None:
        """Send a response. `announced` overrides Content-Length; larger than the body, the response is truncated."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        self.wfile.write(body)
        if announced is not None:
            self.close_connection = True

    def send_endless(self, status: int, headers: Mapping[str, str]) -> None:
        """Send a body without announced length until the client leaves, or ENDLESS_BYTES of it."""
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for _ in range(ENDLESS_BYTES // 2**20):
            self.wfile.write(b" " * 2**20)

    def send_compressed_bomb(self, headers: Mapping[str, str]) -> None:
        """Send 260 kB of gzip data that decompress to 256 MiB."""
        self.send(200, gzip_bomb(), {**headers, "Content-Encoding": "gzip"})

    def read_body(self) -> bytes:
        """Return the request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def hang(self) -> None:
        """Send nothing for the server's `hang_seconds`, then reset the connection."""
        self.server.closing.wait(self.server.hang_seconds)
        self.reset()

    def reset(self) -> None:
        """Abort the connection with a TCP RST, as a crash does: the client sees «connection reset by peer»."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1, on `port` or a free one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: type[Handler], port: int = 0, hang_seconds: float = 60.0) -> None:
        self.hang_seconds = hang_seconds
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        super().__init__(("127.0.0.1", port), handler)

    @property
    def url(self) -> str:
        """The base URL, without trailing slash."""
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        """Serve in a background thread; each connection has its own thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and close kept-alive connections."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            connection.close()
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Track the connection, so that `stop` can close it."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Stop tracking the connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect mid-response; print any other exception, which is a bug."""
        import sys

        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self.stop()
