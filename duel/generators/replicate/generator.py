"""Replicate draws: any image model of the service, FLUX-schnell by default; what was paid for is never paid twice.

A draw creates a prediction, polls it, and reads its file. Before that, the journal is asked for what an earlier draw
of the same key may have left behind: its prediction is then waited for and read instead.

Predictions are created without `Prefer: wait`: the answer, and with it the id, comes before the image is drawn, so
that there is little time in which it could be lost. HTTP API: https://replicate.com/docs/reference/http
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import httpx
from replicate.client import Client

from duel.closing import Closing
from duel.errors import UserError
from duel.generators.base import request_of
from duel.generators.replicate.api import OFFICIAL, ReplicateAPI
from duel.generators.replicate.draw import Draw
from duel.generators.replicate.journal import Journal
from duel.generators.replicate.retries import Deadline, RateLimit, RetrySettings
from duel.generators.replicate.transport import SingleTryTransport
from duel.randomness import stream
from duel.types import DrawnImage, Refusal, Scalar

FLUX_SCHNELL = "black-forest-labs/flux-schnell"
KNOWN_PARAMETERS: dict[str, dict[str, Scalar]] = {
    FLUX_SCHNELL: {
        "megapixels": "1",
        "aspect_ratio": "1:1",
        "num_inference_steps": 4,
        "output_format": "webp",
        "output_quality": 80,
        "go_fast": False,  # the service's default, true, gives other pixels for an equal seed
        "num_outputs": 1,
    }
}
KNOWN_PROMPT_LIMITS = {FLUX_SCHNELL: 256}  # its T5 encoder is cut there


class ReplicateGenerator(Closing):
    """Draws with one model of Replicate, as `duel.generators.base.ImageGenerator` asks.

    Draws of different keys may run in any number of threads and processes. Draws of one key must not overlap; the
    image store sees to that. The token is REPLICATE_API_TOKEN's unless given, the address REPLICATE_BASE_URL's.

    Raises UserError when there is no token.
    """

    def __init__(
        self,
        journal: Journal,
        model: str = FLUX_SCHNELL,
        version: str | None = None,
        parameters: Mapping[str, Scalar] | None = None,
        prompt_limit: int | None = None,
        retries: RetrySettings | None = None,
        token: str | None = None,
    ) -> None:
        self._token, self.address = check_ready(token)
        self.name = model
        self.version = version or OFFICIAL
        self.parameters: Mapping[str, Scalar] = {**KNOWN_PARAMETERS.get(model, {}), **(parameters or {})}
        self.prompt_limit = prompt_limit or known_prompt_limit(model)
        self.journal = journal
        self.retries = retries or RetrySettings()
        rate = self.retries.requests_per_minute
        self.limit = RateLimit(rate, burst=max(1, round(rate / 60)))
        self._connections = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=32))

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        """Draw `text`. Raises GeneratorError when the deadline passes, UserError when no try will help."""
        key = request_of(self, text, seed).key
        retries = self.retries
        what = f"draw {key[:12]} of {self.name}"
        deadline = Deadline(
            what, retries.deadline, retries.first_wait, retries.longest_wait, stream(seed, "replicate", key)
        )
        transport = SingleTryTransport(
            self._connections, self.address, lambda: min(retries.request, deadline.remaining())
        )
        client = Client(self._token, base_url=self.address, transport=transport)
        api = ReplicateAPI(client, self.name, self.version, deadline, retries)
        return Draw(key, self.input_of(text, seed), api, self.journal, self.limit, deadline, retries).run()

    def input_of(self, text: str, seed: int) -> dict[str, Any]:
        """Return a prediction's input. Seeds are 1 to 2^31 - 1: FLUX takes 0 for «choose one yourself»."""
        sendable = text.encode("utf-8", "replace").decode().replace("\0", "")
        return {**self.parameters, "prompt": sendable, "seed": 1 + seed % (2**31 - 1)}

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def __repr__(self) -> str:
        return f"ReplicateGenerator({self.name!r}, version={self.version!r})"


def check_ready(token: str | None = None) -> tuple[str, str]:
    """Return the token and the service's address. Raises UserError when either cannot be used; asks nobody."""
    token = (token or os.environ.get("REPLICATE_API_TOKEN", "")).strip()
    if not token:
        raise UserError(
            "REPLICATE_API_TOKEN is not set; make a token at https://replicate.com/account/api-tokens and export it, "
            "or try without paying: docs/replicate.md"
        )
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise UserError("the API token holds characters that no token has; copy it again")
    address = os.environ.get("REPLICATE_BASE_URL", "").rstrip("/") or "https://api.replicate.com"
    url = httpx.URL(address)
    if url.scheme != "https" and not (url.scheme == "http" and url.host in ("127.0.0.1", "::1", "localhost")):
        raise UserError(f"REPLICATE_BASE_URL is {address!r}, expected https, or http on this machine: a token is sent")
    return token, address


def known_prompt_limit(model: str) -> int:
    """Return how many text tokens a known model reads. Raises UserError for another."""
    if model not in KNOWN_PROMPT_LIMITS:
        raise UserError(f"how many text tokens does {model} read? Set generator.prompt_limit")
    return KNOWN_PROMPT_LIMITS[model]
