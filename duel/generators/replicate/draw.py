"""The life of one draw at Replicate: journal lookup, create, poll, download; each step recorded in the journal."""

from __future__ import annotations

import logging
import re
import time
from datetime import datetime
from typing import Any

import httpx
from replicate.prediction import Prediction

from duel.errors import DataError, GeneratorError, UserError
from duel.generators.replicate.api import FIRST_PAGE, NO_VALID_RESPONSE, ReplicateAPI, describe
from duel.generators.replicate.journal import Journal, Purchase
from duel.generators.replicate.retries import Deadline, RateLimit, RetrySettings
from duel.generators.replicate.transport import HTTPFailure
from duel.images import media_type
from duel.types import DrawnImage, Refusal

REFUSED = re.compile(r"nsfw|flagged as sensitive|\bE005\b|content (policy|moderation)|moderated", re.IGNORECASE)
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)  # so nothing was created
PREDICTIONS = 5  # attempts per draw, when the service reports predictions as failed
CLOCK_SKEW = 300.0  # seconds by which the local clock and the service's may differ

log = logging.getLogger(__name__)


class Draw:
    """Obtains one image: from a prediction that an earlier draw of the same key paid for, else from a new one."""

    def __init__(
        self,
        key: str,
        input: dict[str, Any],
        api: ReplicateAPI,
        journal: Journal,
        limit: RateLimit,
        deadline: Deadline,
        retries: RetrySettings,
    ) -> None:
        self.key = key
        self.input = input
        self.api = api
        self.journal = journal
        self.limit = limit
        self.deadline = deadline
        self.retries = retries

    def run(self) -> DrawnImage | Refusal:
        """Return the image or the service's refusal.

        Raises GeneratorError when the deadline passes or PREDICTIONS predictions failed, UserError when no retry can
        succeed.
        """
        purchase = self.journal.latest(self.key)
        if purchase is not None and purchase.outcome == "refused":
            return Refusal(purchase.reason)
        purchase = self.resume(purchase)
        for _ in range(PREDICTIONS):
            if purchase is None:
                purchase = self.buy()
                self.deadline.pause(self.retries.poll)
            result = self.await_image(purchase)
            if result is not None:
                return result
            purchase = None
        raise GeneratorError(f"{self.api.model} failed {PREDICTIONS} predictions for draw {self.key[:12]}")

    def resume(self, purchase: Purchase | None) -> Purchase | None:
        """Return an earlier purchase whose image can still be fetched, or None.

        A purchase settled as `drawn` counts too: if its image is requested again, the local copy was lost.
        """
        if purchase is None or purchase.outcome not in (None, "drawn"):
            return None
        return purchase if purchase.prediction is not None else self.reconcile(purchase)

    def buy(self) -> Purchase:
        """Create a prediction; the journal has the intent before the request and the id after it."""
        while True:
            self.deadline.wait_until(self.limit.reserve())
            purchase = self.journal.intend(self.key)
            try:
                return self.journal.created(purchase, self.api.create(self.input))
            except GeneratorError:  # the deadline passed before the request was sent
                self.journal.settle(purchase, "absent")
                raise
            except HTTPFailure as failure:
                if failure.status < 500 and failure.status != 408:
                    self.handle_rejection(purchase, failure)
                    continue
                self.deadline.back_off(str(failure), failure.retry_after or 0.0)
            except NOT_SENT as error:
                self.journal.settle(purchase, "absent", reason=describe(error))
                self.deadline.back_off(describe(error))
                continue
            except NO_VALID_RESPONSE as error:
                self.deadline.back_off(describe(error))
            found = self.reconcile(purchase)
            if found is not None:
                return found

    def handle_rejection(self, purchase: Purchase, failure: HTTPFailure) -> None:
        """Back off after a 4xx response to a creation. Raises UserError where a retry would only repeat it."""
        self.journal.settle(purchase, "absent", reason=str(failure))
        if not failure.retryable:
            raise self.api.explain(failure)
        wait = failure.retry_after or 0.0
        self.limit.hold(wait)  # the rate limit is the account's, so all threads wait
        self.deadline.back_off(str(failure), wait)

    def reconcile(self, purchase: Purchase) -> Purchase | None:
        """Look up a purchase without an id (its response was lost) in the account's list of predictions.

        Returns None, settled as `absent` or `unknown`, when the request created nothing or that can no longer be told.
        """
        age = time.time() - purchase.intended_at
        if age > self.retries.retention:
            reason = "its response was lost, and the service has deleted its input since"
            self.journal.settle(purchase, "unknown", reason=reason)
            log.warning("draw %s may have been paid for before: %s; drawing it again", self.key[:12], reason)
            return None
        while True:
            prediction = self.search(purchase.intended_at - CLOCK_SKEW)
            if prediction is not None:
                return self.journal.created(purchase, prediction)
            if time.time() - purchase.intended_at > self.retries.listing_delay:
                self.journal.settle(purchase, "absent", reason="it is not in the account's list of predictions")
                return None
            self.deadline.pause(
                self.retries.listing_delay / 4, "a response was lost; searching the account's predictions"
            )

    def search(self, since: float) -> str | None:
        """Return the id of the newest prediction with this input that the journal does not know, or None.

        Pages back to `since` (Unix time, seconds).
        """
        address: str | None = FIRST_PAGE
        while address is not None:
            page = self.api.page(address)
            known = self.journal.known([prediction["id"] for prediction in page["results"]])
            for prediction in page["results"]:
                if prediction["id"] not in known and self.api.is_mine(prediction, self.input):
                    return str(prediction["id"])
                if datetime.fromisoformat(prediction["created_at"]).timestamp() < since:
                    return None
            address = page["next"]
        return None

    def await_image(self, purchase: Purchase) -> DrawnImage | Refusal | None:
        """Poll a prediction until it ends and download its image.

        Returns None, with the reason in the journal, when the prediction failed or its image is gone.
        """
        prediction = self.api.get(purchase)
        wait = self.retries.poll
        while prediction is not None and prediction.status in ("starting", "processing"):
            self.deadline.pause(wait, f"prediction {prediction.id} is {prediction.status}")
            wait = min(1.5 * wait, 4 * self.retries.poll)
            prediction = self.api.get(purchase)
        if prediction is None or (prediction.status == "succeeded" and not prediction.input):
            self.record_lost(purchase, images=1, reason="the service has deleted it")
            return None
        if prediction.status == "succeeded" and prediction.output:
            return self.download(purchase, prediction)
        reason = prediction.error or f"{prediction.status} without an image"
        if REFUSED.search(reason):
            self.journal.settle(purchase, "refused", images_billed(prediction, otherwise=1), reason)
            return Refusal(reason)
        self.journal.settle(purchase, "failed", images_billed(prediction, otherwise=0), reason)
        self.deadline.back_off(f"prediction {prediction.id} failed: {reason}")
        return None

    def download(self, purchase: Purchase, prediction: Prediction) -> DrawnImage | None:
        """Download a prediction's image until it decodes; None, recorded as `lost`, when the file is gone.

        Raises UserError when the prediction's output is not a URL.
        """
        url = prediction.output[0] if isinstance(prediction.output, list) else prediction.output
        if not isinstance(url, str) or not url.startswith(("https:", "http:", "data:")):
            raise UserError(f"{self.api.model} answers {str(url)[:80]!r}, expected an image; set generator.model")
        while True:
            data = self.api.file(url, purchase)
            if data is None:
                self.record_lost(purchase, images_billed(prediction, otherwise=1), "its file is gone")
                return None
            try:
                image = DrawnImage(data, media_type(data))
            except DataError as error:
                self.deadline.back_off(f"prediction {prediction.id}: {error}")
            else:
                self.journal.settle(purchase, "drawn", images_billed(prediction, otherwise=1))
                return image

    def record_lost(self, purchase: Purchase, images: int, reason: str) -> None:
        """Record, and log, that a paid image cannot be fetched: the draw will be paid for again."""
        self.journal.settle(purchase, "lost", images, reason)
        log.warning("prediction %s was paid for, but %s; drawing it again", purchase.prediction, reason)


def images_billed(prediction: Prediction, otherwise: int) -> int:
    """Return how many images were billed: the metric `image_count`, which official models report, or `otherwise`."""
    count = (prediction.metrics or {}).get("image_count")
    return int(count) if isinstance(count, int | float) else otherwise
