"""A temporary Prefect server with its own folder and port, for benchmarks and tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx


class PrefectServer:
    """Context manager that runs a Prefect server; it can be stopped and restarted in between.

    Raises RuntimeError when the server exits at once or does not respond within two minutes.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.log = folder / "server.txt"
        self.variables = {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_API_PORT": self.port,  # else the UI would call 4200
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_API_URL": self.url,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it responds."""
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prefect", "server", "start", "--port", self.port],
                env=os.environ | self.variables, stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        for _ in range(240):
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/health").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        raise RuntimeError(f"no Prefect server at {self.url}: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop the server with SIGTERM; with SIGKILL where it still waits for open connections after 30 s."""
        if self.process is None or self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
