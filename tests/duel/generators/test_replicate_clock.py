"""The service's clock: estimated from `Date`, whatever the local clock says."""

from email.utils import formatdate

import pytest

from duel.generators.replicate.clock import ServiceClock


@pytest.fixture
def moment(monkeypatch):
    """The time of the monotonic clock, to be set."""
    state = {"now": 100.0}
    monkeypatch.setattr("duel.generators.replicate.clock.time.monotonic", lambda: state["now"])
    return state


def observe(clock: ServiceClock, service: float, sent: float, received: float) -> None:
    clock.observe(formatdate(int(service), usegmt=True), sent, received)


def test_nothing_is_known_before_a_response_or_without_a_valid_date(moment):
    clock = ServiceClock()
    for date in (None, "", "soon", "Mon, 99 Foo 2023 99:99:99 GMT"):
        clock.observe(date, 99.0, 100.0)
    assert (clock.known, clock.now()) == (False, None)


def test_one_response_bounds_the_time_within_its_duration_and_a_second(moment):
    clock = ServiceClock()
    observe(clock, 5000.7, sent=100.0, received=100.2)  # Date says 5000: the difference is in 4899.8 … 4901
    assert clock.now() == pytest.approx(100 + 4900.4)


def test_more_responses_narrow_it(moment):
    clock = ServiceClock()
    observe(clock, 5000.95, sent=100.0, received=100.1)  # 4899.9 … 4901.0
    observe(clock, 5001.05, sent=100.1, received=100.2)  # 4900.8 … 4901.9
    moment["now"] = 101.0
    assert clock.now() == pytest.approx(101 + 4900.9)


def test_a_service_whose_clock_was_set_is_followed(moment):
    clock = ServiceClock()
    observe(clock, 5000, sent=100.0, received=100.0)
    observe(clock, 9000, sent=100.0, received=100.0)
    assert clock.now() == pytest.approx(9000.5)
