"""Spend ledger: purchases survive a kill, sums match what was billed, threads and processes share it."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache.ledger import Spend, SpendLedger
from duel.errors import RunError
from duel.generators.replicate.journal import Purchase


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spend.sqlite"


def test_a_purchase_is_read_back_in_each_state(path):
    with SpendLedger(path) as ledger:
        assert ledger.latest("a") is None
        intended = ledger.intend("a")
        assert ledger.latest("a") == intended
        assert (intended.prediction, intended.outcome) == (None, None)
        created = ledger.created(intended, "p1")
        settled = ledger.settle(created, "refused", 1, "NSFW")
    with SpendLedger(path) as again:
        assert again.latest("a") == settled
        assert (settled.prediction, settled.outcome, settled.reason) == ("p1", "refused", "NSFW")
        assert again.latest("b") is None


def test_latest_returns_the_last_purchase_of_a_key(path):
    with SpendLedger(path) as ledger:
        ledger.settle(ledger.created(ledger.intend("a"), "p1"), "failed")
        second = ledger.intend("a")
        ledger.intend("b")
        assert ledger.latest("a") == second


def test_known_returns_the_recorded_ids(path):
    with SpendLedger(path) as ledger:
        ledger.created(ledger.intend("a"), "p1")
        assert ledger.known(["p1", "p2"]) == {"p1"}
        assert ledger.known([]) == set()


def test_spend_is_what_the_service_billed_refusals_included(path):
    with SpendLedger(path, run="one", dollars_per_image=0.003) as ledger:
        for key in ("a", "b"):
            ledger.settle(ledger.created(ledger.intend(key), f"p-{key}"), "drawn", 1)
        ledger.settle(ledger.created(ledger.intend("c"), "p-c"), "refused", 1, "NSFW")
        ledger.settle(ledger.created(ledger.intend("d"), "p-d"), "failed", 0)
        ledger.settle(ledger.intend("d"), "absent")
        ledger.settle(ledger.intend("e"), "unknown")
        ledger.intend("f")
    with SpendLedger(path, run="two", dollars_per_image=0.01) as ledger:
        ledger.settle(ledger.created(ledger.intend("g"), "p-g"), "lost", 1)
        assert ledger.spend("one") == Spend(
            predictions=4, drawn=2, refused=1, failed=1, lost=0, unknown=1, under_way=1,
            images=3, dollars=pytest.approx(0.009),
        )  # fmt: skip
        assert ledger.spend("two").dollars == pytest.approx(0.01)
        everything = ledger.spend()
    assert (everything.predictions, everything.images, everything.lost) == (5, 4, 1)
    assert everything.dollars == pytest.approx(0.019)


def test_a_purchase_settled_twice_is_counted_once(path):
    with SpendLedger(path, dollars_per_image=1.0) as ledger:
        purchase = ledger.created(ledger.intend("a"), "p1")
        ledger.settle(purchase, "drawn", 1)
        ledger.settle(purchase, "lost", 1)
        assert (ledger.spend().lost, ledger.spend().drawn, ledger.spend().dollars) == (1, 0, 1.0)


def test_a_later_price_changes_no_earlier_sum(path):
    with SpendLedger(path, dollars_per_image=1.0) as ledger:
        ledger.settle(ledger.intend("a"), "drawn", 1)
    with SpendLedger(path, dollars_per_image=5.0) as ledger:
        assert ledger.spend().dollars == 1.0


def test_threads_and_two_connections_share_it(path):
    def buy(ledger: SpendLedger, name: str) -> None:
        for i in range(10):
            ledger.settle(ledger.created(ledger.intend(f"{name}{i}"), f"{name}{i}"), "drawn", 1)

    with SpendLedger(path) as one, SpendLedger(path) as two:
        threads = [
            threading.Thread(target=buy, args=(ledger, f"{name}{i}-"))
            for i in range(3)
            for name, ledger in {"one": one, "two": two}.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.spend() == two.spend()
        assert one.spend().predictions == 60


def test_many_may_open_a_new_ledger_at_once(path):
    def open_and_buy(i: int) -> None:
        with SpendLedger(path) as ledger:
            ledger.intend(str(i))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_and_buy, range(24)))
    with SpendLedger(path) as ledger:
        assert ledger.spend().under_way == 24


def test_an_intent_survives_a_kill(path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from cache.ledger import SpendLedger
        ledger = SpendLedger(Path(sys.argv[1]), run="killed")
        ledger.created(ledger.intend("a"), "p1")
        ledger.intend("b")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    with SpendLedger(path) as ledger:
        assert ledger.latest("a").prediction == "p1"
        assert ledger.latest("b").outcome is None
        assert ledger.spend("killed").under_way == 2


def test_a_path_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot open the spend ledger"):
        SpendLedger(tmp_path / "file" / "spend.sqlite")
    (tmp_path / "spend.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match="cannot open the spend ledger"):
        SpendLedger(tmp_path / "spend.sqlite")


def test_every_write_is_on_disk_when_it_returns(path):
    with SpendLedger(path) as ledger:
        ledger.intend("a")
        other = sqlite3.connect(path)
        assert other.execute("SELECT count(*) FROM purchases").fetchone() == (1,)
        other.close()


def test_what_may_have_been_billed_besides_is_counted_apart(path):
    with SpendLedger(path, dollars_per_image=0.003) as ledger:
        ledger.settle(ledger.created(ledger.intend("a"), "p1"), "failed", 0, "canceled", uncertain=1)
        ledger.settle(ledger.created(ledger.intend("b"), "p2"), "drawn", 1)
        spend = ledger.spend()
    assert (spend.images, spend.dollars, spend.uncertain) == (1, 0.003, 1)
    assert spend.outcomes == {"drawn": 1, "failed": 1, "possibly billed besides": 1}


def test_a_ledger_of_an_older_version_is_read_and_continued(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    older = sqlite3.connect(path)
    older.execute(
        "CREATE TABLE purchases (number INTEGER PRIMARY KEY, key TEXT NOT NULL, run TEXT NOT NULL, "
        "intended_at REAL NOT NULL, prediction TEXT, outcome TEXT, reason TEXT NOT NULL DEFAULT '', settled_at REAL, "
        "images INTEGER NOT NULL DEFAULT 0, dollars REAL NOT NULL DEFAULT 0)"
    )
    older.execute("INSERT INTO purchases (key, run, intended_at, prediction, images) VALUES ('a', 'r', 5.0, 'p', 1)")
    older.commit()
    older.close()
    with SpendLedger(path) as ledger:
        assert ledger.latest("a") == Purchase(1, "a", 5.0, None, "p")
        assert ledger.intend("b", 7.5).service_at == 7.5
        assert (ledger.spend().images, ledger.spend().uncertain) == (1, 0)
