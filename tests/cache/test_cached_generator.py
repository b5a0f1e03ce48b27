"""CachedGenerator: distinct requests once, results in order, and a retry draws only what is missing."""

import hashlib
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cache.cached_generator import CachedGenerator
from cache.image_store import ImageStore
from duel.errors import DataError, GeneratorError, UserError
from duel.types import Drawing, DrawnImage, DrawRequest, Refusal, Scalar


class Painter:
    """A generator whose images are their own request, with faults on demand."""

    name = "painter"
    version = "1"
    prompt_limit = 77
    parameters: Mapping[str, Scalar] = {"size": 8}

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.seconds = 0.0
        self.under_way = self.most_under_way = 0
        self._lock = threading.Lock()

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        with self._lock:
            self.calls.append(text)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        time.sleep(self.seconds)
        with self._lock:
            self.under_way -= 1
        if text in self.faults:
            raise self.faults[text]
        if text.startswith("forbidden"):
            return Refusal("not this")
        return DrawnImage(f"{text} {seed}".encode(), "image/png")


@pytest.fixture
def painter() -> Painter:
    return Painter()


@pytest.fixture
def cached(tmp_path: Path, painter: Painter) -> Iterator[CachedGenerator]:
    with ImageStore(tmp_path / "images") as store:
        yield CachedGenerator(painter, store, concurrency=4)


def test_drawings_come_in_order_and_equal_requests_are_one_draw(cached: CachedGenerator, painter: Painter) -> None:
    batch = cached.draw(["a", "b", "a", "a"], [1, 1, 1, 2], "run/round-0000/draw")
    assert [(drawing.text, drawing.seed) for drawing in batch.drawings] == [("a", 1), ("b", 1), ("a", 1), ("a", 2)]
    assert batch.drawings[0] == batch.drawings[2]
    assert batch.drawings[0].key == DrawRequest("painter", "1", "a", 1, {"size": 8}).key
    assert (batch.asked, batch.made) == (3, 3)
    assert [cached.image(drawing) for drawing in batch.drawings] == [b"a 1", b"b 1", b"a 1", b"a 2"]
    assert sorted(painter.calls) == ["a", "a", "b"]


def test_what_is_stored_is_not_drawn_again(cached: CachedGenerator, painter: Painter) -> None:
    cached.draw(["a", "b"], [1, 1], "run/round-0000/draw")
    batch = cached.draw(["a", "b", "c"], [1, 1, 1], "run/round-0001/draw")
    assert (batch.asked, batch.made) == (3, 1)
    assert len(painter.calls) == 3


def test_a_retry_draws_only_what_is_missing_and_counts_what_the_first_try_drew(
    cached: CachedGenerator, painter: Painter
) -> None:
    painter.faults = {"b": GeneratorError("503 from the service"), "d": GeneratorError("timeout")}
    with pytest.raises(GeneratorError, match=r"2 of 5 images are missing.*503 from the service"):
        cached.draw(["a", "b", "c", "d", "e"], [0] * 5, "run/round-0000/draw")
    painter.faults, painter.calls = {}, []
    batch = cached.draw(["a", "b", "c", "d", "e"], [0] * 5, "run/round-0000/draw")
    assert sorted(painter.calls) == ["b", "d"]
    assert (batch.asked, batch.made) == (5, 5)


def test_an_error_that_no_retry_fixes_is_raised_first(cached: CachedGenerator, painter: Painter) -> None:
    painter.faults = {"a": GeneratorError("503"), "b": UserError("the token is wrong")}
    with pytest.raises(UserError, match="the token is wrong"):
        cached.draw(["a", "b"], [0, 0], "run/round-0000/draw")


def test_a_refusal_is_a_drawing_without_image_and_is_cached(cached: CachedGenerator, painter: Painter) -> None:
    expected = Drawing("forbidden fruit", 3, key=None, refusal="not this")
    assert cached.draw(["forbidden fruit"], [3], "run/round-0000/draw").drawings == [expected]
    again = cached.draw(["forbidden fruit"], [3], "run/round-0001/draw")
    assert again.drawings == [expected]
    assert again.made == 0
    assert len(painter.calls) == 1


def test_draws_run_concurrently_up_to_the_bound(cached: CachedGenerator, painter: Painter) -> None:
    painter.seconds = 0.05
    began = time.perf_counter()
    cached.draw([f"text {i}" for i in range(12)], [0] * 12, "run/round-0000/draw")
    assert painter.most_under_way == 4
    assert time.perf_counter() - began < 12 * 0.05


def test_no_requests_draw_nothing(cached: CachedGenerator) -> None:
    batch = cached.draw([], [], "run/round-0000/draw")
    assert (batch.drawings, batch.asked, batch.made) == ([], 0, 0)


def test_a_lost_or_damaged_image_is_drawn_again_with_a_warning(
    cached: CachedGenerator, painter: Painter, caplog
) -> None:
    drawing, other = cached.draw(["a", "b"], [1, 1], "run/round-0000/draw").drawings
    for path in cached.store.directory.rglob("*.val"):
        path.write_bytes(b"damaged")
    with sqlite3.connect(cached.store.directory / "images" / "cache.db") as database:
        database.execute("UPDATE Cache SET value = ? WHERE key = ?", (b"damaged", drawing.key))
        database.execute("DELETE FROM Cache WHERE key = ?", (other.key,))
    database.close()
    assert [cached.image(drawing), cached.image(other), cached.image(drawing)] == [b"a 1", b"b 1", b"a 1"]
    assert sorted(painter.calls) == ["a", "a", "b", "b"]
    assert [record.getMessage().count("drawing it again") for record in caplog.records] == [1, 1]


def test_a_lost_image_that_this_generator_did_not_draw_is_named(cached: CachedGenerator, painter: Painter) -> None:
    key = hashlib.sha256(b"nothing").hexdigest()
    with pytest.raises(DataError, match=f"image {key} is not in the store .* painter did not draw it"):
        cached.image(Drawing("a", 1, key))
    assert painter.calls == []


def test_a_lost_image_that_is_refused_now_is_named(cached: CachedGenerator) -> None:
    key = DrawRequest("painter", "1", "forbidden", 1, {"size": 8}).key
    with pytest.raises(DataError, match="painter refuses it now"):
        cached.image(Drawing("forbidden", 1, key))


def test_a_data_sets_image_is_kept_under_its_own_hash(cached: CachedGenerator) -> None:
    key = cached.add(b"chart", "image/jpeg")
    assert key == hashlib.sha256(b"chart").hexdigest() == cached.add(b"chart", "image/jpeg")
    assert cached.read(Drawing("1.jpg", 0, key)) == DrawnImage(b"chart", "image/jpeg")
    assert len(cached.store) == 1


def test_an_interrupt_starts_no_further_draw(
    cached: CachedGenerator, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    painter.seconds = 0.05
    monkeypatch.setattr("cache.cached_generator.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached.draw([f"text {i}" for i in range(40)], [0] * 40, "run/round-0000/draw")
    assert len(painter.calls) <= 8
    assert len(cached.store) == len(painter.calls)  # what was under way was stored


class Waiting(Painter):
    """A generator whose draws wait until they are interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = threading.Event()

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        if not self.interrupted.wait(20):
            return super().draw(text, seed)
        raise GeneratorError("interrupted")

    def interrupt(self) -> None:
        self.interrupted.set()


def test_an_interrupt_ends_the_waits_of_draws_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cache.cached_generator.wait", interrupted)
    began = time.monotonic()
    with ImageStore(tmp_path / "images") as store, pytest.raises(KeyboardInterrupt):
        CachedGenerator(Waiting(), store, concurrency=4).draw(["a", "b"], [0, 0], "run/round-0000/draw")
    assert time.monotonic() - began < 5


def test_a_stop_request_does_not_wait_for_a_draw_that_hangs(
    cached: CachedGenerator, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duel.services.stopping.FINISH", 0.2)
    hanging = threading.Event()
    monkeypatch.setattr(painter, "draw", lambda text, seed: hanging.wait(30))
    main = threading.main_thread().ident
    threading.Timer(0.2, signal.pthread_kill, [main, signal.SIGINT]).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        cached.draw(["text"], [0], "run/round-0000/draw")
    assert time.monotonic() - started < 2
    hanging.set()
    for thread in threading.enumerate():
        if thread.name.startswith("request-"):
            thread.join()
