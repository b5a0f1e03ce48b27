"""The write-ahead journal of paid requests (protocol only): an intent is on disk before each request that costs money.

After a lost response or a killed process, the next draw of the same key finds the purchase and resumes it.
One purchase is one request to create a prediction:

    intended ──> created (the service's id is known) ──> settled as
        │                                                  drawn      the image was downloaded
        │                                                  refused    a content filter rejected the text
        │                                                  failed     it ended without an image
        │                                                  lost       paid for, but the service deleted the image
        └─────────────────────────────────────────────>    absent     the request created no prediction
                                                           unknown    it can no longer be told whether it did
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol

Outcome = Literal["drawn", "refused", "failed", "lost", "absent", "unknown"]


@dataclass(frozen=True)
class Purchase:
    """One request to create a prediction, as recorded."""

    number: int
    key: str  # the draw's cache key
    intended_at: float  # Unix time by the local clock, for people
    service_at: float | None = None  # Unix time by the service's clock; None: not known
    prediction: str | None = None  # the service's id; None until its response arrived
    outcome: Outcome | None = None  # None: open
    reason: str = ""  # the service's message, for a refusal or failure


class Journal(Protocol):
    """Durable store of purchases; implementations are safe across threads and processes. See `cache.ledger`."""

    def latest(self, key: str) -> Purchase | None:
        """Return the latest purchase of a draw, or None."""

    def intend(self, key: str, service_at: float | None = None) -> Purchase:
        """Record that a prediction is about to be created, and when by the service's clock, where that is known.

        Returns once that is on disk. Raises LimitError when the budget or the purchases for this draw are used up.
        """

    def created(self, purchase: Purchase, prediction: str) -> Purchase:
        """Record the service's id of the prediction."""

    def settle(
        self, purchase: Purchase, outcome: Outcome, images: int = 0, reason: str = "", uncertain: int = 0
    ) -> Purchase:
        """Record the outcome, the number of images billed, and of those that may have been billed besides.

        May be called again; the last call wins.
        """

    def known(self, predictions: Collection[str]) -> set[str]:
        """Return those of the given prediction ids that are recorded."""
