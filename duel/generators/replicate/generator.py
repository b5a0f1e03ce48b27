"""`ReplicateGenerator`: image generation with any model on replicate.com, FLUX-schnell by default.

A draw creates a prediction, polls it, and downloads its file. Before that it asks the journal for a prediction that an
earlier draw of the same key may have left behind, and if there is one polls and downloads that instead of paying again.

Predictions are created without `Prefer: wait`: the response with the id then arrives before the image is drawn, which
shortens the window in which the id could be lost. HTTP API: https://replicate.com/docs/reference/http
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import httpx
from replicate.client import Client

from duel.closing import Closing
from duel.errors import UserError
from duel.generators.base import request_of
from duel.generators.replicate.api import OFFICIAL, ReplicateAPI
from duel.generators.replicate.clock import ServiceClock
from duel.generators.replicate.draw import Draw
from duel.generators.replicate.journal import Journal
from duel.generators.replicate.retries import Deadline, RateLimit, RetrySettings
from duel.generators.replicate.transport import SingleTryTransport
from duel.randomness import stream
from duel.services.addresses import normal_address, service_address
from duel.services.network import Connections, check_key
from duel.types import DrawnImage, Refusal, Scalar

FLUX_SCHNELL = "black-forest-labs/flux-schnell"
KNOWN_PARAMETERS: dict[str, dict[str, Scalar]] = {
    FLUX_SCHNELL: {
        "megapixels": "1",
        "aspect_ratio": "1:1",
        "num_inference_steps": 4,
        "output_format": "webp",
        "output_quality": 80,
        "go_fast": False,  # true, the service's default, is not deterministic even with a seed
        "num_outputs": 1,
    }
}
KNOWN_PROMPT_LIMITS = {FLUX_SCHNELL: 256}  # tokens; its T5 encoder truncates there


class ReplicateGenerator(Closing):
    """ImageGenerator over one model of Replicate.

    Draws of different keys may run in any number of threads and processes. Draws of one key must not overlap; the
    image store's lock per key ensures that. `token` defaults to REPLICATE_API_TOKEN; the base URL is
    REPLICATE_BASE_URL's.

    Raises UserError when there is no token or the base URL is not https.
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
        self.service = normal_address(self.address)
        self.name = model
        self.version = version or OFFICIAL
        self.parameters: Mapping[str, Scalar] = {**KNOWN_PARAMETERS.get(model, {}), **(parameters or {})}
        self.prompt_limit = prompt_limit or known_prompt_limit(model)
        self.journal = journal
        self.retries = retries or RetrySettings()
        rate = self.retries.requests_per_minute
        self.limit = RateLimit(rate, burst=max(1, round(rate / 60)))
        self._clock = ServiceClock()
        self._interrupted = threading.Event()  # of the draws that have begun
        self._connections = Connections(keepalive=32)

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        """Return the image of `text` under `seed`, or the service's Refusal.

        Raises GeneratorError when the deadline passes, UserError when no retry can succeed.
        """
        key = request_of(self, text, seed).key
        retries = self.retries
        what = f"draw {key[:12]} of {self.name}"
        deadline = Deadline(
            what,
            retries.deadline,
            retries.first_wait,
            retries.longest_wait,
            stream(seed, "replicate", key),
            retries.rate_limit,
            self._interrupted,
        )
        transport = SingleTryTransport(
            self._connections, self.address, lambda: min(retries.request, deadline.remaining()), self._clock
        )
        client = Client(self._token, base_url=self.address, transport=transport)
        api = ReplicateAPI(client, self.name, self.version, deadline, retries, self._clock)
        return Draw(key, self.input_of(text, seed), api, self.journal, self.limit, deadline, retries).run()

    def input_of(self, text: str, seed: int) -> dict[str, Any]:
        """Return a prediction's input. The seed is mapped to 1 … 2^31 - 1, because FLUX reads 0 as «random»."""
        sendable = text.encode("utf-8", "replace").decode().replace("\0", "")
        return {**self.parameters, "prompt": sendable, "seed": 1 + seed % (2**31 - 1)}

    def interrupt(self) -> None:
        """End the waits of all draws that have begun, with a GeneratorError; the next draw of each goes on."""
        self._interrupted.set()
        self._interrupted = threading.Event()

    def close(self) -> None:
        """Close the connection pool."""
        self._connections.close()

    def __repr__(self) -> str:
        return f"ReplicateGenerator({self.name!r}, version={self.version!r})"


def check_ready(token: str | None = None) -> tuple[str, str]:
    """Return the API token and the base URL, without any request. Raises UserError when either is unusable."""
    token = (token or os.environ.get("REPLICATE_API_TOKEN", "")).strip()
    if not token:
        raise UserError(
            "REPLICATE_API_TOKEN is not set; make a token at https://replicate.com/account/api-tokens and export it, "
            "or try without paying: docs/replicate.md"
        )
    check_key(token, "REPLICATE_API_TOKEN")
    address = service_address("REPLICATE_BASE_URL", "https://api.replicate.com")
    url = httpx.URL(address)
    if url.scheme != "https" and not (url.scheme == "http" and url.host in ("127.0.0.1", "::1", "localhost")):
        raise UserError(
            f"REPLICATE_BASE_URL is {address!r}, expected https (or http to localhost), because the token is sent there"
        )
    return token, address


def known_prompt_limit(model: str) -> int:
    """Return a known model's prompt limit in tokens. Raises UserError for an unknown model."""
    if model not in KNOWN_PROMPT_LIMITS:
        raise UserError(f"the prompt limit of {model} is not known; set generator.prompt_limit to its tokens")
    return KNOWN_PROMPT_LIMITS[model]
