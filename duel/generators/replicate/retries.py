"""The rate limit that all requests share, and the deadline and backoff of one draw."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from duel.errors import GeneratorError

NOTHING_YET = "no answer yet"


@dataclass(frozen=True)
class RetrySettings:
    """Rates and waits, in seconds."""

    requests_per_minute: float = 600.0  # predictions created; the service's own limit
    deadline: float = 300.0  # for one draw, everything included
    request: float = 30.0  # for one HTTP exchange
    poll: float = 0.25  # first wait for a prediction; grows to four times that
    first_wait: float = 0.5  # bound of the wait after a first failure; it doubles
    longest_wait: float = 30.0
    listing: float = 5.0  # after which an accepted prediction stands in the account's list
    memory: float = 3600.0  # after which the service forgets inputs and outputs


class RateLimit:
    """A token bucket over all threads: `per_minute` turns a minute, and `burst` at once after a rest.

    A turn is a moment to wait for, so that a waiting thread sleeps exactly once.
    """

    def __init__(self, per_minute: float, burst: int = 1) -> None:
        self._interval = 60.0 / per_minute
        self._slack = (burst - 1) * self._interval
        self._next = time.monotonic() - self._slack
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Take the next turn and return when it comes, by `time.monotonic()`."""
        with self._lock:
            now = time.monotonic()
            due = max(self._next, now - self._slack)
            self._next = due + self._interval
            return max(due, now)

    def hold(self, seconds: float) -> None:
        """Give no turn for `seconds`: the service asked everybody to wait."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class Deadline:
    """One deadline for a draw, and the waits between its tries.

    Waits after failures grow exponentially with full jitter: uniform between 0 and min(longest, first * 2^n)
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). A wait that would end after the
    deadline is not begun: GeneratorError says what happened last.
    """

    def __init__(self, what: str, deadline: float, first: float, longest: float, chance: random.Random) -> None:
        self._what = what
        self._seconds = deadline
        self._end = time.monotonic() + deadline
        self._first = first
        self._longest = longest
        self._chance = chance
        self._failures = 0
        self._last = NOTHING_YET

    def remaining(self) -> float:
        """Return the seconds left. Raises GeneratorError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._exhausted()
        return left

    def pause(self, seconds: float, why: str | None = None) -> None:
        """Sleep; `why` is remembered for the error, should the deadline come first."""
        past = time.monotonic() >= self._end
        if why is not None and (not past or self._last == NOTHING_YET):  # past: it was cut short by the deadline
            self._last = why
        if seconds >= self.remaining():
            raise self._exhausted()
        if seconds > 0:
            time.sleep(seconds)

    def wait_until(self, moment: float) -> None:
        """Sleep until a moment of `time.monotonic()`."""
        self.pause(moment - time.monotonic())

    def back_off(self, why: str, at_least: float = 0.0) -> None:
        """Sleep after a failure, for `at_least` (what the service asked for) or longer."""
        self.pause(at_least + self.next_wait(), why)

    def next_wait(self) -> float:
        """Count a failure and return how long to wait after it."""
        bound = min(self._longest, self._first * 2.0**self._failures)
        self._failures += 1
        return self._chance.uniform(0, bound)

    def _exhausted(self) -> GeneratorError:
        return GeneratorError(f"no image within {self._seconds:g} s for {self._what}; last: {self._last}")
