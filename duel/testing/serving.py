"""An HTTP server on 127.0.0.1 in threads of this process, and ways for an answer to go wrong."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Handler(BaseHTTPRequestHandler):
    """Answers JSON and bytes over kept-alive connections, or breaks off."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's acknowledgement
    server: Server

    def answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON answer."""
        self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send(self, status: int, body: bytes, headers: Mapping[str, str], announced: int | None = None) -> None:
        """Send an answer; with `announced` above the body's length, the connection ends before the body does."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        self.wfile.write(body)
        if announced is not None:
            self.close_connection = True

    def read_body(self) -> bytes:
        """Return the request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def hang(self) -> None:
        """Answer nothing for the server's `hang_seconds`, then break off."""
        self.server.closing.wait(self.server.hang_seconds)
        self.reset()

    def reset(self) -> None:
        """Break the connection off, as a crash does: the client sees «connection reset by peer»."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


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
        """The server's address, with no slash at the end."""
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        """Answer from now on, in threads of their own."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and break off the connections that are kept alive."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            connection.close()
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that it can be closed."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away in mid answer; anything else is a bug and is shown."""
        import sys

        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self.stop()
