"""Rate limit shared by all threads, and one draw's deadline with exponential backoff."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass

from duel.errors import GeneratorError
from duel.generators.replicate.transport import HTTPFailure

NO_RESPONSE_YET = "no response yet"
SAID_FROM = 1.0  # seconds; shorter waits for a rate limit are not logged

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetrySettings:
    """Rate limit, timeouts and waits. All durations in seconds."""

    requests_per_minute: float = 600.0  # creations; the service's documented limit
    deadline: float = 300.0  # for one draw, retries included, rate limits not
    rate_limit: float = 3600.0  # for one draw, waiting for rate limits
    request: float = 30.0  # timeout of one HTTP exchange
    poll: float = 0.25  # first polling interval; grows to four times that
    first_wait: float = 0.5  # bound of the first backoff; doubles with each failure
    longest_wait: float = 30.0  # largest bound of a backoff
    listing_delay: float = 5.0  # after which a created prediction is certain to be in the account's list
    retention: float = 3600.0  # after which the service deletes inputs and outputs


class RateLimit:
    """A token bucket for all threads: `per_minute` requests a minute, and `burst` at once after an idle period.

    A request reserves a point in time and sleeps until then once, so threads never compete for a freed token.
    """

    def __init__(self, per_minute: float, burst: int = 1) -> None:
        self._interval = 60.0 / per_minute
        self._slack = (burst - 1) * self._interval
        self._next = time.monotonic() - self._slack
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Reserve the next request and return when it may be sent, on the `time.monotonic()` clock."""
        with self._lock:
            now = time.monotonic()
            due = max(self._next, now - self._slack)
            self._next = due + self._interval
            return max(due, now)

    def hold(self, seconds: float) -> None:
        """Delay all further requests by `seconds`, because the service sent Retry-After."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class Deadline:
    """The deadline of one draw, and the sleeps between its attempts.

    Backoff is exponential with full jitter: uniform between 0 and min(longest, first * 2^n)
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). A sleep that would outlast the
    deadline does not begin; instead GeneratorError is raised with the reason of the last failure.

    The deadline counts work: waiting for a rate limit moves it, by at most `rate_limit` seconds in all. Sleeps end,
    with a GeneratorError, when `interrupted` is set.
    """

    def __init__(
        self,
        operation: str,
        deadline: float,
        first: float,
        longest: float,
        rng: random.Random,
        rate_limit: float = RetrySettings.rate_limit,
        interrupted: threading.Event | None = None,
    ) -> None:
        self._operation = operation
        self._seconds = deadline
        self._end = time.monotonic() + deadline
        self._first = first
        self._longest = longest
        self._rng = rng
        self._rate_limit = rate_limit
        self._interrupted = interrupted or threading.Event()
        self._limited = 0.0  # seconds waited for rate limits
        self._failures = 0
        self._last = NO_RESPONSE_YET

    def remaining(self) -> float:
        """Return the seconds left. Raises GeneratorError when none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._exhausted()
        return left

    def pause(self, seconds: float, reason: str | None = None) -> None:
        """Sleep for `seconds`; `reason` is quoted in the error if the deadline passes first."""
        expired = time.monotonic() >= self._end
        # After the deadline, a failure is only the timeout that the deadline caused: keep the reason before it.
        if reason is not None and (not expired or self._last == NO_RESPONSE_YET):
            self._last = reason
        if seconds >= self.remaining():
            raise self._exhausted()
        self._sleep(seconds)

    def wait_until(self, moment: float) -> None:
        """Sleep until `moment` on the `time.monotonic()` clock, because of a rate limit."""
        self.wait_out(moment - time.monotonic(), "the rate limit of all requests")

    def wait_out(self, seconds: float, reason: str) -> None:
        """Sleep because of a rate limit, which moves the deadline.

        Raises GeneratorError, without sleeping, where all such waits would be more than `rate_limit` seconds.
        """
        seconds = max(0.0, seconds)
        if self._limited + seconds > self._rate_limit:
            raise GeneratorError(
                f"{self._operation} would wait {self._limited + seconds:.0f} s for the service's rate limit, expected "
                f"at most {self._rate_limit:g} s ({reason}); run the same command again later"
            )
        self.remaining()
        if seconds >= SAID_FROM:
            log.warning("%s waits %.0f s: %s", self._operation, seconds, reason)
        self._limited += seconds
        self._end += seconds
        self._sleep(seconds)

    def wait_after(self, failure: HTTPFailure) -> None:
        """Sleep after a response that a retry may better: a rate limit is waited out, others count as failures."""
        if failure.rate_limited:
            self.wait_out((failure.retry_after or 0.0) + self.next_wait(), str(failure))
        else:
            self.back_off(str(failure), failure.retry_after or 0.0)

    def back_off(self, reason: str, at_least: float = 0.0) -> None:
        """Sleep after a failure: `at_least` (from Retry-After, seconds) plus the jittered backoff."""
        self.pause(at_least + self.next_wait(), reason)

    def next_wait(self) -> float:
        """Count a failure and return its jittered backoff in seconds."""
        bound = min(self._longest, self._first * 2.0**self._failures)
        self._failures += 1
        return self._rng.uniform(0, bound)

    def _sleep(self, seconds: float) -> None:
        if self._interrupted.wait(max(0.0, seconds)):
            raise GeneratorError(f"{self._operation} was interrupted; last: {self._last}")

    def _exhausted(self) -> GeneratorError:
        return GeneratorError(f"no image within {self._seconds:g} s for {self._operation}; last: {self._last}")
