"""The four calls of Replicate's HTTP API that a draw needs, over the vendor's client, with retries until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import httpx
from replicate.client import Client
from replicate.helpers import FileOutput
from replicate.prediction import Prediction

from duel.errors import UserError
from duel.generators.replicate.journal import Purchase
from duel.generators.replicate.retries import Deadline, RetrySettings
from duel.generators.replicate.transport import HTTPFailure

OFFICIAL = "official"  # stands for the version of an official model, which is called by name
NO_VALID_RESPONSE = (httpx.HTTPError, ValueError)  # transport errors and malformed bodies
FIRST_PAGE = "/v1/predictions"

Answer = TypeVar("Answer")


class ReplicateAPI:
    """API calls on behalf of one draw, bounded by its deadline.

    `get`, `page` and `file` retry with backoff. They raise GeneratorError when the deadline passes, and UserError
    for a response that a retry would only repeat.
    """

    def __init__(self, client: Client, model: str, version: str, deadline: Deadline, retries: RetrySettings) -> None:
        self.model = model
        self.version = version
        self._client = client
        self._deadline = deadline
        self._retries = retries

    def create(self, input: dict[str, Any]) -> str:
        """Create a prediction and return its id: by version where one is pinned, else by an official model's name.

        Not idempotent, so never retried here. Raises HTTPFailure or one of NO_VALID_RESPONSE.
        """
        if self.version != OFFICIAL:
            return self._client.predictions.create(version=self.version, input=input).id
        owner, _, name = self.model.partition("/")
        return self._client.models.predictions.create(model=(owner, name), input=input).id

    def get(self, purchase: Purchase) -> Prediction | None:
        """Return a prediction; None when the service still answers 404 `listing_delay` seconds after the creation."""
        return self._retry(partial(self._get, purchase))

    def page(self, address: str = FIRST_PAGE) -> dict[str, Any]:
        """Return one page of the account's predictions as parsed JSON, newest first.

        The client's `predictions.list` rejects a whole page when one prediction on it has a status that the client
        does not know, such as the service's newer `aborted`.
        """
        return self._retry(partial(self._page, address))

    def file(self, url: str, purchase: Purchase) -> bytes | None:
        """Return a file's bytes; None when the service has deleted it. A new file may answer 404 for a moment."""
        return self._retry(partial(self._file, url, purchase))

    def is_mine(self, prediction: dict[str, Any], input: dict[str, Any]) -> bool:
        """Whether a listed prediction is of this model and has this input (the service may have added defaults)."""
        there = prediction["input"] or {}
        same_model = prediction.get("model") == self.model or prediction.get("version") == self.version
        return same_model and all(there.get(name) == value for name, value in input.items())

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

    def _retry(self, call: Callable[[], Answer]) -> Answer:
        while True:
            try:
                return call()
            except HTTPFailure as failure:
                if not failure.retryable:
                    raise self.explain(failure) from None
                self._deadline.back_off(str(failure), failure.retry_after or 0.0)
            except NO_VALID_RESPONSE as error:
                self._deadline.back_off(describe(error))

    def _get(self, purchase: Purchase) -> Prediction | None:
        try:
            return self._client.predictions.get(str(purchase.prediction))
        except HTTPFailure as failure:
            if failure.status != 404:
                raise
            if time.time() - purchase.intended_at > self._retries.listing_delay:
                return None
            raise httpx.ReadError(str(failure)) from None  # retried

    def _page(self, address: str) -> dict[str, Any]:
        page = self._client._request("GET", address).json()
        if not isinstance(page, dict) or not isinstance(page.get("results"), list):
            raise ValueError(f"the account's list is {str(page)[:80]!r}, expected a page of predictions")
        return page

    def _file(self, url: str, purchase: Purchase) -> bytes | None:
        try:
            return FileOutput(url, self._client).read()
        except HTTPFailure as failure:
            if failure.status not in (403, 404, 410):
                raise
            if time.time() - purchase.intended_at > 0.9 * self._retries.retention:
                return None
            raise httpx.ReadError(str(failure)) from None  # retried


def describe(error: Exception) -> str:
    """Return one line about a transport error or malformed response, for logs and errors."""
    return f"{type(error).__name__}: {error}".strip(": ")[:300]
