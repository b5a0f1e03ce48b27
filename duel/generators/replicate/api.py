"""The calls of Replicate's HTTP API that a draw needs, over the vendor's client, with retries until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import httpx
from replicate.client import Client
from replicate.helpers import FileOutput

from duel.errors import UserError
from duel.generators.replicate.clock import ServiceClock
from duel.generators.replicate.journal import Purchase
from duel.generators.replicate.listing import FIRST_PAGE
from duel.generators.replicate.prediction import Prediction, parse_json, parse_prediction, shortened
from duel.generators.replicate.retries import Deadline, RetrySettings
from duel.generators.replicate.transport import HTTPFailure

OFFICIAL = "official"  # stands for the version of an official model, which is called by name
NO_VALID_RESPONSE = (httpx.HTTPError, httpx.InvalidURL, ValueError)  # transport errors and malformed bodies

Answer = TypeVar("Answer")


class ReplicateAPI:
    """API calls on behalf of one draw, bounded by its deadline.

    The vendor's client sends them; responses are parsed here, because its classes reject states and shapes that the
    service has added since. `get`, `page` and `file` retry with backoff. They raise GeneratorError when the deadline
    passes, and UserError for a response that a retry would only repeat.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        version: str,
        deadline: Deadline,
        retries: RetrySettings,
        clock: ServiceClock,
    ) -> None:
        self.model = model
        self.version = version
        self.clock = clock
        self._client = client
        self._deadline = deadline
        self._retries = retries

    def synchronise(self) -> None:
        """Return once the service's time is known, or a response came that does not tell it.

        Asks for the account, which costs nothing, when this process has not had a response yet.
        """
        if not self.clock.known:
            self._retry(self._account)

    def age(self, purchase: Purchase) -> float:
        """Return the seconds since a purchase was intended, by the service's clock where both times are known."""
        now = self.clock.now()
        if now is None or purchase.service_at is None:
            return max(0.0, time.time() - purchase.intended_at)
        return max(0.0, now - purchase.service_at)

    def create(self, input: Mapping[str, Any]) -> Prediction:
        """Create a prediction: by version where one is pinned, else by an official model's name.

        Not idempotent, so never retried here. Raises HTTPFailure or one of NO_VALID_RESPONSE, also when the response
        is about another input.
        """
        if self.version != OFFICIAL:
            body = self._send("POST", FIRST_PAGE, json={"version": self.version, "input": dict(input)})
        else:
            body = self._send("POST", f"/v1/models/{self.model}/predictions", json={"input": dict(input)})
        prediction = parse_prediction(body)
        if prediction.input is not None and not prediction.has_input(input):
            raise ValueError(f"the service answers with prediction {prediction.id}, of another input")
        return prediction

    def get(self, purchase: Purchase) -> Prediction | None:
        """Return a prediction; None when the service still answers 404 `listing_delay` seconds after the creation."""
        return self._retry(partial(self._get, purchase))

    def page(self, address: str) -> dict[str, Any]:
        """Return one page of the account's predictions as parsed JSON, newest first."""
        return self._retry(partial(self._page, address))

    def file(self, url: str, purchase: Purchase) -> bytes | None:
        """Return a file's bytes; None when the service has deleted it. A new file may answer 404 for a moment."""
        return self._retry(partial(self._file, url, purchase))

    def explain(self, failure: HTTPFailure) -> UserError:
        """Return the UserError for a response that a retry would only repeat, with advice on what to do."""
        todo = {
            401: "the API token is not accepted; make one at https://replicate.com/account/api-tokens",
            402: "add credit at https://replicate.com/account/billing, then run the same command again",
            403: f"the account of the API token may not use {self.model}",
            404: f"no official model is called {self.model}; check generator.model, and for a community model pin "
            "generator.version",
            422: f"{self.model} does not take this; check generator.parameters and generator.version",
        }
        advice = todo.get(failure.status, f"the service does not take this request to {self.model}")
        return UserError(f"Replicate answered {failure}: {advice}")

    def _send(self, method: str, address: str, **options: Any) -> Any:
        return parse_json(self._client._request(method, address, **options).content)

    def _retry(self, call: Callable[[], Answer]) -> Answer:
        while True:
            try:
                return call()
            except HTTPFailure as failure:
                if not failure.retryable:
                    raise self.explain(failure) from None
                self._deadline.wait_after(failure)
            except NO_VALID_RESPONSE as error:
                self._deadline.back_off(describe(error))

    def _account(self) -> None:
        try:
            self._client._request("GET", "/v1/account")
        except HTTPFailure as failure:
            if failure.status == 401 or failure.retryable:
                raise

    def _get(self, purchase: Purchase) -> Prediction | None:
        try:
            prediction = parse_prediction(self._send("GET", f"{FIRST_PAGE}/{purchase.prediction}"))
        except HTTPFailure as failure:
            if failure.status != 404:
                raise
            if self.age(purchase) > self._retries.listing_delay:
                return None
            raise httpx.ReadError(str(failure)) from None  # retried
        if prediction.id != purchase.prediction:
            raise ValueError(f"the service answers with prediction {prediction.id} instead of {purchase.prediction}")
        return prediction

    def _page(self, address: str) -> dict[str, Any]:
        page = self._send("GET", address)
        if not isinstance(page, dict) or not isinstance(page.get("results"), list):
            raise ValueError(f"the account's list is {shortened(page, 80)}, expected a page of predictions")
        return page

    def _file(self, url: str, purchase: Purchase) -> bytes | None:
        try:
            return FileOutput(url, self._client).read()
        except HTTPFailure as failure:
            if failure.status not in (403, 404, 410):
                raise
            if self.age(purchase) > 0.9 * self._retries.retention:
                return None
            raise httpx.ReadError(str(failure)) from None  # retried


def describe(error: Exception) -> str:
    """Return one line about a transport error or malformed response, for logs and errors."""
    return f"{type(error).__name__}: {error}".strip(": ")[:300]
