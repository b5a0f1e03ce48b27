"""Rate limit, backoff with full jitter, and deadline."""

import random
import threading
import time

import pytest

from duel.errors import GeneratorError
from duel.generators.replicate.retries import Deadline, RateLimit


def make_deadline(seconds: float = 10.0, first: float = 0.0, longest: float = 0.0) -> Deadline:
    return Deadline("draw 1", seconds, first, longest, random.Random(0))


def test_reservations_come_at_the_rate_after_a_burst():
    limit = RateLimit(per_minute=600, burst=3)
    began = time.monotonic()
    turns = [limit.reserve() - began for _ in range(6)]
    assert turns[:3] == pytest.approx([0, 0, 0], abs=0.05)
    assert turns[3:] == pytest.approx([0.1, 0.2, 0.3], abs=0.05)


def test_threads_share_the_rate():
    limit = RateLimit(per_minute=6000)
    began = time.monotonic()
    turns: list[float] = []

    def take() -> None:
        for _ in range(5):
            make_deadline().wait_until(limit.reserve())
            turns.append(time.monotonic())

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(turns) - began >= 19 * 0.01
    assert all(late >= 0.01 * i - 0.001 for i, late in enumerate(sorted(turn - began for turn in turns)))


def test_a_hold_delays_every_later_reservation():
    limit = RateLimit(per_minute=60_000)
    began = time.monotonic()
    limit.hold(0.2)
    assert limit.reserve() - began == pytest.approx(0.2, abs=0.02)
    assert limit.reserve() - began >= 0.2


def test_backoff_doubles_up_to_its_bound_with_full_jitter():
    deadline = make_deadline(first=1.0, longest=8.0)
    waits = [deadline.next_wait() for _ in range(200)]
    bounds = [1.0, 2.0, 4.0] + [8.0] * 197
    assert all(0 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert sum(waits[3:]) / 197 == pytest.approx(4.0, abs=0.5)


def test_backoff_is_at_least_retry_after():
    began = time.monotonic()
    make_deadline().back_off("429", at_least=0.15)
    assert time.monotonic() - began >= 0.15


def test_a_sleep_beyond_the_deadline_raises_with_the_last_reason():
    deadline = make_deadline(seconds=0.5)
    began = time.monotonic()
    with pytest.raises(GeneratorError, match=r"no image within 0\.5 s for draw 1; last: HTTP 503: busy"):
        deadline.back_off("HTTP 503: busy", at_least=60)
    assert time.monotonic() - began < 0.1


def test_no_time_left_is_an_error():
    deadline = make_deadline(seconds=0.01)
    time.sleep(0.02)
    with pytest.raises(GeneratorError, match="last: no response yet"):
        deadline.remaining()
