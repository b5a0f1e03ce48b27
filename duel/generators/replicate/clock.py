"""`ServiceClock`: the service's time, from the `Date` of its responses; the local clock may be wrong or be set."""

from __future__ import annotations

import threading
import time
from email.utils import parsedate_to_datetime


class ServiceClock:
    """The service's Unix time, estimated from `Date` headers against `time.monotonic()`. Thread-safe.

    A `Date` has whole seconds and was written between sending and receiving, so each response bounds the difference
    of the two clocks from both sides; all responses together bound it within fractions of a second.
    """

    def __init__(self) -> None:
        self._least: float | None = None  # of service time - monotonic time
        self._most = 0.0
        self._lock = threading.Lock()

    @property
    def known(self) -> bool:
        """Whether a response with a valid `Date` has been seen."""
        return self._least is not None

    def now(self) -> float | None:
        """Return the service's Unix time; None while it is not known."""
        with self._lock:
            return None if self._least is None else time.monotonic() + (self._least + self._most) / 2

    def observe(self, date: str | None, sent: float, received: float) -> None:
        """Take the `Date` of a response into account; the times are `time.monotonic()`'s. An invalid one is ignored."""
        if date is None:
            return
        try:
            written = parsedate_to_datetime(date).timestamp()
        except (ValueError, OverflowError):
            return
        least, most = written - received, written + 1.0 - sent
        with self._lock:
            if self._least is None or least > self._most or most < self._least:  # the first, or the clock was set
                self._least, self._most = least, most
            else:
                self._least, self._most = max(self._least, least), min(self._most, most)
