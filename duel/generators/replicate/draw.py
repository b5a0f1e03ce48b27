"""The life of one draw at Replicate: journal lookup, create, poll, download; each step recorded in the journal."""

from __future__ import annotations

import logging
from typing import Any

import httpx

from duel.errors import DataError, GeneratorError, UserError
from duel.generators.replicate.api import NO_VALID_RESPONSE, ReplicateAPI, describe
from duel.generators.replicate.journal import Journal, Outcome, Purchase
from duel.generators.replicate.listing import search
from duel.generators.replicate.prediction import Prediction, billed
from duel.generators.replicate.refusals import is_about_prompt, is_refusal
from duel.generators.replicate.retries import Deadline, RateLimit, RetrySettings
from duel.generators.replicate.transport import HTTPFailure
from duel.images import media_type
from duel.types import DrawnImage, Refusal

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)  # so nothing was created
CLOCK_SKEW = 60.0  # seconds by which the clocks of the service's own machines may differ
MIXED_UP = 3  # responses about another input, until a prediction is taken to be of another input

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

        Raises GeneratorError when the deadline passes, LimitError when the journal allows no further purchase, and
        UserError when no retry can succeed.
        """
        purchase = self.journal.latest(self.key)
        if purchase is not None and purchase.outcome == "refused":
            return Refusal(purchase.reason)
        purchase = self.resume(purchase)
        while True:  # until the journal's limit on purchases that end without an image
            bought = purchase or self.buy()
            if isinstance(bought, Refusal):
                return bought
            result = None if bought is None else self.await_image(bought, new=purchase is None)
            if result is not None:
                return result
            purchase = None

    def resume(self, purchase: Purchase | None) -> Purchase | None:
        """Return an earlier purchase whose image can still be fetched, or None.

        A purchase settled as `drawn` counts too: if its image is requested again, the local copy was lost.
        """
        if purchase is None or purchase.outcome not in (None, "drawn"):
            return None
        return purchase if purchase.prediction is not None else self.reconcile(purchase)

    def buy(self) -> Purchase | Refusal | None:
        """Create a prediction; the journal has the intent before the request and the id after it.

        Returns None when it cannot be told whether one was created, and a Refusal where the service rejects the prompt.
        """
        while True:
            self.api.synchronise()
            self.deadline.wait_until(self.limit.reserve())
            purchase = self.journal.intend(self.key, self.api.clock.now())
            try:
                return self.request(purchase)
            except GeneratorError:  # the deadline passed before the request was sent
                self.journal.settle(purchase, "absent")
                raise
            except HTTPFailure as failure:
                if failure.status < 500 and failure.status != 408:
                    refusal = self.handle_rejection(purchase, failure)
                    if refusal is not None:
                        return refusal
                    continue
                self.deadline.wait_after(failure)
            except NOT_SENT as error:
                self.journal.settle(purchase, "absent", reason=describe(error))
                self.deadline.back_off(describe(error))
                continue
            except NO_VALID_RESPONSE as error:
                self.deadline.back_off(describe(error))
            found = self.reconcile(purchase)
            if found is not None:
                return found
            last = self.journal.latest(self.key)
            if last is None or last.outcome != "absent":
                return None

    def request(self, purchase: Purchase) -> Purchase:
        """Create a prediction and record its id. Raises what `ReplicateAPI.create` does, also for a recorded id."""
        prediction = self.api.create(self.input)
        if self.journal.known([prediction.id]):
            raise ValueError(f"the service answers with prediction {prediction.id}, which is another purchase's")
        return self.journal.created(purchase, prediction.id)

    def handle_rejection(self, purchase: Purchase, failure: HTTPFailure) -> Refusal | None:
        """Back off after a 4xx response to a creation, or return the refusal where it is about the prompt alone.

        Raises UserError where a retry would only repeat it.
        """
        if is_about_prompt(failure, self.input["prompt"]):
            self.journal.settle(purchase, "refused", reason=str(failure))
            return Refusal(str(failure))
        self.journal.settle(purchase, "absent", reason=str(failure))
        if not failure.retryable:
            raise self.api.explain(failure)
        if failure.rate_limited:
            self.limit.hold(failure.retry_after or 0.0)  # the rate limit is the account's, so all threads wait
        self.deadline.wait_after(failure)
        return None

    def reconcile(self, purchase: Purchase) -> Purchase | None:
        """Look up a purchase without an id (its response was lost) in the account's list of predictions.

        Returns None, settled as `absent` when the list shows that the request created nothing, else as `unknown`.
        """
        self.api.synchronise()
        if self.api.age(purchase) > self.retries.retention:
            self.record_unknown(purchase, "its response was lost, and the service has deleted its input since")
            return None
        since = None if purchase.service_at is None else purchase.service_at - CLOCK_SKEW
        while True:
            result = search(self.api.page, self.journal.known, self.input, self.api.model, since)
            if result.prediction is not None:
                if result.others:
                    log.warning(
                        "draw %s: the account has %d more predictions of this input that this ledger does not know",
                        self.key[:12],
                        result.others,
                    )
                return self.journal.created(purchase, result.prediction.id)
            if self.api.age(purchase) > self.retries.listing_delay:
                break
            self.deadline.pause(
                self.retries.listing_delay / 4, "a response was lost; searching the account's predictions"
            )
        doubt = result.doubt or ("the service's time is not known" if since is None else "")
        if doubt:
            self.record_unknown(purchase, f"its response was lost, and {doubt}")
            return None
        self.journal.settle(purchase, "absent", reason="it is not in the account's list of predictions")
        return None

    def await_image(self, purchase: Purchase, new: bool) -> DrawnImage | Refusal | None:
        """Poll a prediction until it ends and download its image; a new one is given a moment first.

        Returns None, with the reason in the journal, when the prediction failed or its image is gone.
        """
        if new:
            self.deadline.pause(self.retries.poll)
        prediction = self.ended(purchase)
        if prediction is None or (prediction.state == "succeeded" and prediction.input is None):
            self.record_lost(purchase, prediction, "the service has deleted it")
            return None
        if prediction.input is not None and not prediction.has_input(self.input):
            self.record_unknown(purchase, f"prediction {prediction.id} is of another input")
            return None
        if prediction.state == "succeeded" and prediction.url is not None:
            return self.download(purchase, prediction, prediction.url)
        return self.settle_failed(purchase, prediction)

    def ended(self, purchase: Purchase) -> Prediction | None:
        """Poll until a prediction has ended and return it; None when the service has deleted it.

        A response about another input is asked for again, MIXED_UP times.
        """
        wait, mixed_up = self.retries.poll, 0
        while (prediction := self.api.get(purchase)) is not None:
            if prediction.input is not None and not prediction.has_input(self.input):
                mixed_up += 1
                if mixed_up == MIXED_UP:
                    break
                self.deadline.back_off(f"the service answers prediction {prediction.id} with another input")
                continue
            if prediction.state != "running":
                break
            self.deadline.pause(wait, f"prediction {prediction.id} is {prediction.status}")
            wait = min(1.5 * wait, 4 * self.retries.poll)
        return prediction

    def settle_failed(self, purchase: Purchase, prediction: Prediction) -> Refusal | None:
        """Record a prediction that ended without an image: a refusal, which is returned, or a failure.

        Raises UserError when the output is text.
        """
        reason = prediction.reason or f"the prediction is {prediction.status or 'without status'}, without an image"
        if prediction.state == "succeeded" and prediction.output:
            reason = f"the output is {prediction.output}, expected an image"
        elif prediction.state == "stopped":
            reason = f"{prediction.status or 'no status'}: {reason}"
        elif is_refusal(reason, self.input["prompt"]):
            self.settle(purchase, prediction, "refused", reason)
            return Refusal(reason)
        self.settle(purchase, prediction, "failed", reason)
        if prediction.text_output and prediction.state == "succeeded":
            raise UserError(f"{self.api.model} answers {prediction.output!r}, expected an image; set generator.model")
        self.deadline.back_off(f"prediction {prediction.id} failed: {reason}")
        return None

    def download(self, purchase: Purchase, prediction: Prediction, url: str) -> DrawnImage | None:
        """Download a prediction's image until it decodes; None, recorded as `lost`, when the file is gone."""
        while True:
            data = self.api.file(url, purchase)
            if data is None:
                self.record_lost(purchase, prediction, "its file is gone")
                return None
            try:
                image = DrawnImage(data, media_type(data))
            except DataError as error:
                self.deadline.back_off(f"prediction {prediction.id}: {error}")
            else:
                self.settle(purchase, prediction, "drawn")
                return image

    def settle(self, purchase: Purchase, prediction: Prediction, outcome: Outcome, reason: str = "") -> None:
        """Record an outcome with the images billed as the service counts them, else as `billed` does."""
        images, uncertain = billed(prediction, outcome)
        self.journal.settle(purchase, outcome, images, reason, uncertain)

    def record_lost(self, purchase: Purchase, prediction: Prediction | None, reason: str) -> None:
        """Record, and log, that a paid image cannot be fetched: the draw will be paid for again."""
        images, uncertain = (0, 1) if prediction is None else billed(prediction, "lost")
        self.journal.settle(purchase, "lost", images, reason, uncertain)
        log.warning("prediction %s was paid for, but %s; drawing it again", purchase.prediction, reason)

    def record_unknown(self, purchase: Purchase, reason: str) -> None:
        """Record, and log, that it cannot be told what was bought: the draw may be paid for again."""
        self.journal.settle(purchase, "unknown", reason=reason)
        log.warning("draw %s may have been paid for before: %s; drawing it again", self.key[:12], reason)
