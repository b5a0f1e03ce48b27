"""What is written down before an image is paid for, so that a lost answer or a kill never pays for it twice.

One purchase is one request to create a prediction:

    intended ──> created (the service's id is known) ──> settled
        │                                                  drawn      an image came
        │                                                  refused    the service will not draw this text
        │                                                  failed     the service failed and drew nothing
        │                                                  lost       paid for, but the service forgot the image
        └─────────────────────────────────────────────>    absent     the request never became a prediction
                                                           unknown    nobody can say any more which it was
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol

Outcome = Literal["drawn", "refused", "failed", "lost", "absent", "unknown"]


@dataclass(frozen=True)
class Purchase:
    """One request to create a prediction, as far as the journal knows."""

    number: int
    key: str  # of the draw it is for
    intended_at: float  # seconds since 1970 by this machine's clock
    prediction: str | None = None  # the service's id, once its answer came
    outcome: Outcome | None = None  # None: not settled
    reason: str = ""  # what the service said, for a refusal or a failure


class Journal(Protocol):
    """Remembers purchases beyond the death of the process; safe to call from several threads and processes."""

    def latest(self, key: str) -> Purchase | None:
        """Return the last purchase made for a draw."""

    def intend(self, key: str) -> Purchase:
        """Write down that a prediction is about to be created; returns when that is on disk."""

    def created(self, purchase: Purchase, prediction: str) -> Purchase:
        """Write down the service's id."""

    def settle(self, purchase: Purchase, outcome: Outcome, images: int = 0, reason: str = "") -> Purchase:
        """Write down how it ended and how many images the service billed. A settled purchase may be settled anew."""

    def known(self, predictions: Collection[str]) -> set[str]:
        """Return those ids that are written down already."""
