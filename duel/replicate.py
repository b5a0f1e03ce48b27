"""Replicate draws: any image model of the service, FLUX-schnell by default; what was paid for is never paid twice.

A draw creates a prediction, polls it, and reads its file. Before that, the journal is asked for what an earlier draw
of the same key may have left behind: its prediction is then waited for and read instead.

Predictions are created without `Prefer: wait`: the answer, and with it the id, comes before the image is drawn, so
that there is little time in which it could be lost. HTTP API: https://replicate.com/docs/reference/http
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from PIL import Image
from replicate.client import Client
from replicate.helpers import FileOutput
from replicate.prediction import Prediction

from duel.errors import DataError, GeneratorError, UserError
from duel.generators import request_of
from duel.images import decode_image
from duel.journal import Journal, Purchase
from duel.pacing import Patience, RateLimit
from duel.randomness import stream
from duel.transport import HTTPFailure, OneTry
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

REFUSED = re.compile(r"nsfw|flagged as sensitive|\bE005\b|content (policy|moderation)|moderated", re.IGNORECASE)
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
UNANSWERED = (httpx.HTTPError, ValueError)  # no answer, or one that is not what the API promises
PREDICTIONS = 5  # created for one draw, when the service fails them
CLOCK_SKEW = 300.0  # seconds by which this machine's clock and the service's may differ

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Pace:
    """Rates and waits, in seconds."""

    requests_per_minute: float = 600.0  # predictions created; the service's own limit
    deadline: float = 300.0  # for one draw, everything included
    request: float = 30.0  # for one HTTP exchange
    poll: float = 0.25  # first wait for a prediction; grows to four times that
    first_wait: float = 0.5  # bound of the wait after a first failure; it doubles
    longest_wait: float = 30.0
    listing: float = 5.0  # after which an accepted prediction stands in the account's list
    memory: float = 3600.0  # after which the service forgets inputs and outputs


class ReplicateGenerator:
    """Draws with one model of Replicate, as `duel.generators.ImageGenerator` asks.

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
        pace: Pace = Pace(),
        token: str | None = None,
    ) -> None:
        self._token, self.address = check_ready(token)
        self.name = model
        self.version = version or "official"
        self.parameters: Mapping[str, Scalar] = {**KNOWN_PARAMETERS.get(model, {}), **(parameters or {})}
        self.prompt_limit = prompt_limit or known_prompt_limit(model)
        self.journal = journal
        self.pace = pace
        self.limit = RateLimit(pace.requests_per_minute, burst=max(1, round(pace.requests_per_minute / 60)))
        self._connections = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=32))

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        """Draw `text`. Raises GeneratorError when the deadline passes, UserError when no try will help."""
        key = request_of(self, text, seed).key
        pace = self.pace
        what = f"draw {key[:12]} of {self.name}"
        patience = Patience(what, pace.deadline, pace.first_wait, pace.longest_wait, stream(seed, "replicate", key))
        transport = OneTry(self._connections, self.address, lambda: min(pace.request, patience.remaining()))
        client = Client(self._token, base_url=self.address, transport=transport)
        return _Draw(self, key, self.input_of(text, seed), patience, client).run()

    def input_of(self, text: str, seed: int) -> dict[str, Any]:
        """Return a prediction's input. Seeds are 1 to 2^31 - 1: FLUX takes 0 for «choose one yourself»."""
        sendable = text.encode("utf-8", "replace").decode().replace("\0", "")
        return {**self.parameters, "prompt": sendable, "seed": 1 + seed % (2**31 - 1)}

    def create(self, client: Client, input: dict[str, Any]) -> Prediction:
        """Create a prediction: by version where one is pinned, else by the name of an official model."""
        if self.version != "official":
            return client.predictions.create(version=self.version, input=input)
        owner, _, name = self.name.partition("/")
        return client.models.predictions.create(model=(owner, name), input=input)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ReplicateGenerator({self.name!r}, version={self.version!r})"


class _Draw:
    """One image on its way."""

    def __init__(
        self,
        generator: ReplicateGenerator,
        key: str,
        input: dict[str, Any],
        patience: Patience,
        client: Client,
    ) -> None:
        self.generator = generator
        self.journal = generator.journal
        self.pace = generator.pace
        self.key = key
        self.input = input
        self.patience = patience
        self.client = client

    def run(self) -> DrawnImage | Refusal:
        purchase = self.journal.latest(self.key)
        if purchase is not None and purchase.outcome == "refused":
            return Refusal(purchase.reason)
        purchase = self.resume(purchase)
        for _ in range(PREDICTIONS):
            if purchase is None:
                purchase = self.buy()
                self.patience.pause(self.pace.poll)
            result = self.collect(purchase)
            if result is not None:
                return result
            purchase = None
        raise GeneratorError(f"{self.generator.name} failed {PREDICTIONS} predictions for draw {self.key[:12]}")

    def resume(self, purchase: Purchase | None) -> Purchase | None:
        """Return an earlier purchase whose image may still be had. One that was drawn counts: its image was lost."""
        if purchase is None or purchase.outcome not in (None, "drawn"):
            return None
        return purchase if purchase.prediction is not None else self.find(purchase)

    def buy(self) -> Purchase:
        """Create a prediction, written down before and after."""
        while True:
            self.patience.wait_until(self.generator.limit.turn())
            purchase = self.journal.intend(self.key)
            try:
                return self.journal.created(purchase, self.generator.create(self.client, self.input).id)
            except GeneratorError:  # the deadline came before anything was sent
                self.journal.settle(purchase, "absent")
                raise
            except HTTPFailure as failure:
                if failure.status < 500 and failure.status != 408:
                    self.declined(purchase, failure)
                    continue
                self.patience.back_off(str(failure), failure.retry_after or 0.0)
            except NOT_SENT as error:
                self.journal.settle(purchase, "absent", reason=describe(error))
                self.patience.back_off(describe(error))
                continue
            except UNANSWERED as error:
                self.patience.back_off(describe(error))
            found = self.find(purchase)
            if found is not None:
                return found

    def declined(self, purchase: Purchase, failure: HTTPFailure) -> None:
        """Wait where the service asks to. Raises UserError where asking again would not help."""
        self.journal.settle(purchase, "absent", reason=str(failure))
        if not failure.may_pass:
            raise self.explain(failure)
        asked = failure.retry_after or 0.0
        self.generator.limit.hold(asked)  # it counts for every thread
        self.patience.back_off(str(failure), asked)

    def find(self, purchase: Purchase) -> Purchase | None:
        """Look a purchase whose answer was lost up in the account's list; None when it never became a prediction."""
        age = time.time() - purchase.intended_at
        if age > self.pace.memory:
            reason = "its answer was lost, and the service forgets inputs"
            self.journal.settle(purchase, "unknown", reason=reason)
            log.warning("draw %s may have been paid for before: %s; it is drawn again", self.key[:12], reason)
            return None
        while True:
            prediction = self.look(purchase.intended_at - CLOCK_SKEW)
            if prediction is not None:
                return self.journal.created(purchase, prediction)
            if time.time() - purchase.intended_at > self.pace.listing:
                self.journal.settle(purchase, "absent", reason="the account's list does not have it")
                return None
            self.patience.pause(self.pace.listing / 4, "an answer was lost; looking in the account's list")

    def look(self, since: float) -> str | None:
        """Return the id of a prediction with this input that the journal does not know, newest first."""
        address: str | None = "/v1/predictions"
        while address is not None:
            page = self.patiently(partial(self.list_page, address))
            known = self.journal.known([prediction["id"] for prediction in page["results"]])
            for prediction in page["results"]:
                if prediction["id"] not in known and self.is_mine(prediction):
                    return str(prediction["id"])
                if datetime.fromisoformat(prediction["created_at"]).timestamp() < since:
                    return None
            address = page["next"]
        return None

    def is_mine(self, prediction: dict[str, Any]) -> bool:
        """Tell whether a listed prediction is of this model and has this input, whatever else it has."""
        there = prediction["input"] or {}
        model, version = prediction.get("model"), prediction.get("version")
        same_model = self.generator.name == model or self.generator.version == version
        return same_model and all(there.get(name) == value for name, value in self.input.items())

    def collect(self, purchase: Purchase) -> DrawnImage | Refusal | None:
        """Wait for a prediction and read its image; None, written down, when it has none."""
        prediction = self.patiently(partial(self.get, purchase))
        wait = self.pace.poll
        while prediction is not None and prediction.status in ("starting", "processing"):
            self.patience.pause(wait, f"prediction {prediction.id} is {prediction.status}")
            wait = min(1.5 * wait, 4 * self.pace.poll)
            prediction = self.patiently(partial(self.get, purchase))
        if prediction is None or (prediction.status == "succeeded" and not prediction.input):
            self.lose(purchase, images=1, reason="the service has forgotten it")
            return None
        if prediction.status == "succeeded" and prediction.output:
            return self.receive(purchase, prediction)
        reason = prediction.error or f"{prediction.status} without an image"
        if REFUSED.search(reason):
            self.journal.settle(purchase, "refused", images_billed(prediction, otherwise=1), reason)
            return Refusal(reason)
        self.journal.settle(purchase, "failed", images_billed(prediction, otherwise=0), reason)
        self.patience.back_off(f"prediction {prediction.id} failed: {reason}")
        return None

    def receive(self, purchase: Purchase, prediction: Prediction) -> DrawnImage | None:
        """Read a prediction's image until its bytes are whole; None, written down, when the file is gone."""
        url = prediction.output[0] if isinstance(prediction.output, list) else prediction.output
        if not isinstance(url, str) or not url.startswith(("https:", "http:", "data:")):
            raise UserError(f"{self.generator.name} answers {str(url)[:80]!r}, expected an image; set generator.model")
        while True:
            data = self.patiently(partial(self.read_file, url, purchase))
            if data is None:
                self.lose(purchase, images_billed(prediction, otherwise=1), "its file is gone")
                return None
            try:
                image = DrawnImage(data, media_type(data))
            except DataError as error:
                self.patience.back_off(f"prediction {prediction.id}: {error}")
            else:
                self.journal.settle(purchase, "drawn", images_billed(prediction, otherwise=1))
                return image

    def lose(self, purchase: Purchase, images: int, reason: str) -> None:
        """Write down, and say, that an image was paid for and cannot be had: it will be paid for again."""
        self.journal.settle(purchase, "lost", images, reason)
        log.warning("prediction %s was paid for, but %s; it is drawn again", purchase.prediction, reason)

    def get(self, purchase: Purchase) -> Prediction | None:
        """Return the state of a prediction; None when the service does not know it, though it had time to."""
        try:
            return self.client.predictions.get(str(purchase.prediction))
        except HTTPFailure as failure:
            if failure.status != 404:
                raise
            if time.time() - purchase.intended_at > self.pace.listing:
                return None
            raise httpx.ReadError(str(failure)) from None  # waited for

    def list_page(self, address: str) -> dict[str, Any]:
        """Return a page of the account's list, unparsed.

        The client's `predictions.list` refuses a page when one prediction on it has a status that the client does
        not know, such as the service's newer `aborted`.
        """
        page = self.client._request("GET", address).json()
        if not isinstance(page, dict) or not isinstance(page.get("results"), list):
            raise ValueError(f"the account's list is {str(page)[:80]!r}, expected a page of predictions")
        return page

    def read_file(self, url: str, purchase: Purchase) -> bytes | None:
        """Return a file's bytes; None when it is gone for good. A new file may need a moment to be there."""
        try:
            return FileOutput(url, self.client).read()
        except HTTPFailure as failure:
            if failure.status not in (403, 404, 410):
                raise
            if time.time() - purchase.intended_at > 0.9 * self.pace.memory:
                return None
            raise httpx.ReadError(str(failure)) from None  # waited for

    def patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Ask until an answer comes, for as long as the draw has patience."""
        while True:
            try:
                return ask()
            except HTTPFailure as failure:
                if not failure.may_pass:
                    raise self.explain(failure) from None
                self.patience.back_off(str(failure), failure.retry_after or 0.0)
            except UNANSWERED as error:
                self.patience.back_off(describe(error))

    def explain(self, failure: HTTPFailure) -> UserError:
        """Return the error for an answer that will be the same next time, with what to do about it."""
        model = self.generator.name
        todo = {
            401: "the token in REPLICATE_API_TOKEN is not accepted; make one at https://replicate.com/account/api-tokens",
            402: "add credit at https://replicate.com/account/billing, then run the same command again",
            403: f"the account of REPLICATE_API_TOKEN may not use {model}",
            404: f"no official model is called {model}; check generator.model, and for a community model pin "
            "generator.version",
            422: f"{model} does not take this; check generator.parameters and generator.version",
        }
        advice = todo.get(failure.status, f"the service does not take this request to {model}")
        return UserError(f"Replicate answered {failure}: {advice}")


def check_ready(token: str | None = None) -> tuple[str, str]:
    """Return the token and the service's address. Raises UserError when either cannot be used; asks nobody."""
    token = (token or os.environ.get("REPLICATE_API_TOKEN", "")).strip()
    if not token:
        raise UserError(
            "REPLICATE_API_TOKEN is not set; make a token at https://replicate.com/account/api-tokens and export it, "
            "or try without paying: docs/replicate.md"
        )
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise UserError("REPLICATE_API_TOKEN holds characters that no token has; copy it again")
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


def images_billed(prediction: Prediction, otherwise: int) -> int:
    """Return how many images the service says it billed; official models tell, as the metric `image_count`."""
    count = (prediction.metrics or {}).get("image_count")
    return int(count) if isinstance(count, int | float) else otherwise


def media_type(data: bytes) -> str:
    """Return an image's media type. Raises DataError when the bytes are not a whole image."""
    decode_image(data)
    with Image.open(BytesIO(data)) as image:
        return Image.MIME[str(image.format)]


def describe(error: Exception) -> str:
    """Return one line about a lost answer."""
    return f"{type(error).__name__}: {error}".strip(": ")[:300]
