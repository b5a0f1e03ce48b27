"""One draw at Replicate, from the first look into the journal to an image that decodes."""

from __future__ import annotations

import logging
import re
import time
from datetime import datetime
from io import BytesIO
from typing import Any

import httpx
from PIL import Image
from replicate.prediction import Prediction

from duel.errors import DataError, GeneratorError, UserError
from duel.generators.replicate.api import FIRST_PAGE, UNANSWERED, ReplicateAPI, describe
from duel.generators.replicate.journal import Journal, Purchase
from duel.generators.replicate.retries import Deadline, RateLimit, RetrySettings
from duel.generators.replicate.transport import HTTPFailure
from duel.images import decode_image
from duel.types import DrawnImage, Refusal

REFUSED = re.compile(r"nsfw|flagged as sensitive|\bE005\b|content (policy|moderation)|moderated", re.IGNORECASE)
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
PREDICTIONS = 5  # created for one draw, when the service fails them
CLOCK_SKEW = 300.0  # seconds by which this machine's clock and the service's may differ

log = logging.getLogger(__name__)


class Draw:
    """Buys one image, or takes up what an earlier draw of the same key bought."""

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
        """Return the image. Raises GeneratorError when the deadline passes, UserError when no try will help."""
        purchase = self.journal.latest(self.key)
        if purchase is not None and purchase.outcome == "refused":
            return Refusal(purchase.reason)
        purchase = self.resume(purchase)
        for _ in range(PREDICTIONS):
            if purchase is None:
                purchase = self.buy()
                self.deadline.pause(self.retries.poll)
            result = self.collect(purchase)
            if result is not None:
                return result
            purchase = None
        raise GeneratorError(f"{self.api.model} failed {PREDICTIONS} predictions for draw {self.key[:12]}")

    def resume(self, purchase: Purchase | None) -> Purchase | None:
        """Return an earlier purchase whose image may still be had. One that was drawn counts: its image was lost."""
        if purchase is None or purchase.outcome not in (None, "drawn"):
            return None
        return purchase if purchase.prediction is not None else self.find(purchase)

    def buy(self) -> Purchase:
        """Create a prediction, written down before and after."""
        while True:
            self.deadline.wait_until(self.limit.turn())
            purchase = self.journal.intend(self.key)
            try:
                return self.journal.created(purchase, self.api.create(self.input))
            except GeneratorError:  # the deadline came before anything was sent
                self.journal.settle(purchase, "absent")
                raise
            except HTTPFailure as failure:
                if failure.status < 500 and failure.status != 408:
                    self.declined(purchase, failure)
                    continue
                self.deadline.back_off(str(failure), failure.retry_after or 0.0)
            except NOT_SENT as error:
                self.journal.settle(purchase, "absent", reason=describe(error))
                self.deadline.back_off(describe(error))
                continue
            except UNANSWERED as error:
                self.deadline.back_off(describe(error))
            found = self.find(purchase)
            if found is not None:
                return found

    def declined(self, purchase: Purchase, failure: HTTPFailure) -> None:
        """Wait where the service asks to. Raises UserError where asking again would not help."""
        self.journal.settle(purchase, "absent", reason=str(failure))
        if not failure.may_pass:
            raise self.api.explain(failure)
        asked = failure.retry_after or 0.0
        self.limit.hold(asked)  # it counts for every thread
        self.deadline.back_off(str(failure), asked)

    def find(self, purchase: Purchase) -> Purchase | None:
        """Look a purchase whose answer was lost up in the account's list; None when it never became a prediction."""
        age = time.time() - purchase.intended_at
        if age > self.retries.memory:
            reason = "its answer was lost, and the service forgets inputs"
            self.journal.settle(purchase, "unknown", reason=reason)
            log.warning("draw %s may have been paid for before: %s; it is drawn again", self.key[:12], reason)
            return None
        while True:
            prediction = self.look(purchase.intended_at - CLOCK_SKEW)
            if prediction is not None:
                return self.journal.created(purchase, prediction)
            if time.time() - purchase.intended_at > self.retries.listing:
                self.journal.settle(purchase, "absent", reason="the account's list does not have it")
                return None
            self.deadline.pause(self.retries.listing / 4, "an answer was lost; looking in the account's list")

    def look(self, since: float) -> str | None:
        """Return the id of a prediction with this input that the journal does not know, newest first."""
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

    def collect(self, purchase: Purchase) -> DrawnImage | Refusal | None:
        """Wait for a prediction and read its image; None, written down, when it has none."""
        prediction = self.api.get(purchase)
        wait = self.retries.poll
        while prediction is not None and prediction.status in ("starting", "processing"):
            self.deadline.pause(wait, f"prediction {prediction.id} is {prediction.status}")
            wait = min(1.5 * wait, 4 * self.retries.poll)
            prediction = self.api.get(purchase)
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
        self.deadline.back_off(f"prediction {prediction.id} failed: {reason}")
        return None

    def receive(self, purchase: Purchase, prediction: Prediction) -> DrawnImage | None:
        """Read a prediction's image until its bytes are whole; None, written down, when the file is gone."""
        url = prediction.output[0] if isinstance(prediction.output, list) else prediction.output
        if not isinstance(url, str) or not url.startswith(("https:", "http:", "data:")):
            raise UserError(f"{self.api.model} answers {str(url)[:80]!r}, expected an image; set generator.model")
        while True:
            data = self.api.file(url, purchase)
            if data is None:
                self.lose(purchase, images_billed(prediction, otherwise=1), "its file is gone")
                return None
            try:
                image = DrawnImage(data, media_type(data))
            except DataError as error:
                self.deadline.back_off(f"prediction {prediction.id}: {error}")
            else:
                self.journal.settle(purchase, "drawn", images_billed(prediction, otherwise=1))
                return image

    def lose(self, purchase: Purchase, images: int, reason: str) -> None:
        """Write down, and say, that an image was paid for and cannot be had: it will be paid for again."""
        self.journal.settle(purchase, "lost", images, reason)
        log.warning("prediction %s was paid for, but %s; it is drawn again", purchase.prediction, reason)


def images_billed(prediction: Prediction, otherwise: int) -> int:
    """Return how many images the service says it billed; official models tell, as the metric `image_count`."""
    count = (prediction.metrics or {}).get("image_count")
    return int(count) if isinstance(count, int | float) else otherwise


def media_type(data: bytes) -> str:
    """Return an image's media type. Raises DataError when the bytes are not a whole image."""
    decode_image(data)
    with Image.open(BytesIO(data)) as image:
        return Image.MIME[str(image.format)]
