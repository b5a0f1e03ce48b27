"""Timing of requests to Replicate: Retry-After, the rate limit, and the deadline of a draw."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from duel.errors import GeneratorError
from duel.generators.replicate.generator import ReplicateGenerator
from duel.generators.replicate.retries import RateLimit
from tests.support.replicate_fixtures import PNG, is_right, retry_settings


def test_retry_after_is_honoured_by_every_thread(server, generator):
    server.retry_after = 0.4
    server.faults.script("create", "throttled")
    began = time.monotonic()
    generator.draw("first", 0)
    assert 0.4 <= time.monotonic() - began < 2
    server.faults.script("create", "throttled")
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(generator.draw, "second", 0)
        time.sleep(0.1)  # the first has met the 429 by now
        second = pool.submit(generator.draw, "third", 0)
        first.result()
        second.result()
    assert min(job.created for job in server.jobs[1:]) - server.jobs[0].created >= 0.4
    assert time.monotonic() - began >= 0.4


def test_retry_after_beyond_the_deadline_is_waited_out_and_logged(server, ledger, caplog):
    server.retry_after = 1.2
    server.faults.script("create", "throttled")
    with ReplicateGenerator(ledger, parameters=PNG, retries=retry_settings(deadline=0.9)) as generator:
        assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert re.search(r"draw \w{12} of \S+ waits 1 s: HTTP 429: Request was throttled", caplog.text)


def test_waiting_for_rate_limits_has_a_bound(server, ledger):
    server.retry_after = 3600
    server.faults.rates = {"throttled": 1.0}
    began = time.monotonic()
    with (
        ReplicateGenerator(ledger, retries=retry_settings(deadline=2, rate_limit=1800)) as generator,
        pytest.raises(GeneratorError, match=r"would wait 3600 s for the service's rate limit, expected at most 1800 s"),
    ):
        generator.draw("a plot", 7)
    assert time.monotonic() - began < 1
    assert ledger.spend().under_way == 0


@pytest.mark.parametrize("fault", ["error", "hang"])
def test_an_unavailable_service_fails_at_the_deadline_with_the_last_error(server, ledger, fault):
    server.faults.rates = {fault: 1.0}
    began = time.monotonic()
    with (
        ReplicateGenerator(ledger, retries=retry_settings(deadline=1.2, request=0.3)) as generator,
        pytest.raises(GeneratorError, match="HTTP 500" if fault == "error" else "ReadTimeout"),
    ):
        generator.draw("a plot", 7)
    assert time.monotonic() - began < 1.6
    assert server.counts()["created"] == 0


def test_an_unreachable_service_fails_at_the_deadline(server, ledger, monkeypatch):
    monkeypatch.setenv("REPLICATE_BASE_URL", "http://127.0.0.1:9")
    with (
        ReplicateGenerator(ledger, retries=retry_settings(deadline=0.5)) as generator,
        pytest.raises(GeneratorError, match="ConnectError"),
    ):
        generator.draw("a plot", 7)
    assert ledger.spend().under_way == 0


def test_creations_keep_to_the_rate(server, ledger):
    made = ReplicateGenerator(ledger, parameters=PNG, retries=retry_settings(requests_per_minute=1200))
    with made as generator, ThreadPoolExecutor(8) as pool:
        list(pool.map(generator.draw, [f"text {i}" for i in range(40)], range(40)))
    created = [job.created for job in server.jobs]
    assert created[-1] - created[0] >= 19 * 0.05 * 0.98  # 20 at once, then one in 50 ms
    assert all(late - early >= 0.9 for early, late in zip(created, created[38:], strict=False))


def test_an_interrupted_wait_ends_at_once_and_the_draw_can_be_made_again(server, generator):
    server.retry_after = 600
    server.faults.script("create", "throttled")
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(generator.draw, "a plot", 7)
        while not server.faults.counts:
            time.sleep(0.01)
        time.sleep(0.1)
        generator.interrupt()
        with pytest.raises(GeneratorError, match="was interrupted"):
            waiting.result()
    assert time.monotonic() - began < 3
    generator.limit = RateLimit(60_000)  # whose wait was the service's request
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 1
