"""A server that replays recorded answers of Replicate's API, in order."""

import json
from collections import deque
from pathlib import Path
from typing import Any

from duel.testing.serving import Handler, Server

FOLDER = Path(__file__).parents[1] / "data" / "replicate"


def recorded() -> dict[str, Any]:
    """Return the recorded bodies, by name."""
    bodies: dict[str, Any] = json.loads((FOLDER / "exchanges.json").read_text("utf-8"))
    return bodies


class Replay(Handler):
    """Answers the account, and each other request with the next recorded answer of its server."""

    server: "ReplayServer"

    def do_GET(self) -> None:
        if self.path == "/v1/account":
            self.answer(200, {"type": "user", "username": "recorded"})
        else:
            self.replay()

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.read_body()))
        self.replay()

    def replay(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        status, body = self.server.answers.popleft()
        self.answer(status, body)


class ReplayServer(Server):
    """Serves the answers that are put into `answers`, as (status, body); `asked` and `bodies` have the requests."""

    def __init__(self) -> None:
        super().__init__(Replay)
        self.answers: deque[tuple[int, Any]] = deque()
        self.asked: list[str] = []
        self.bodies: list[Any] = []
