"""Limits on what may be bought: reserved before each request, across threads, processes, runs and retries."""

import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from cache.budget import DAY
from cache.cached_generator import CachedGenerator
from cache.image_store import ImageStore
from cache.ledger import SpendLedger, Terms
from duel.errors import GeneratorError, LimitError
from duel.generators.replicate.generator import ReplicateGenerator
from duel.settings import BudgetSettings
from tests.support.replicate_fixtures import PNG, QUICK

OLDER = """
CREATE TABLE purchases (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, run TEXT NOT NULL, intended_at REAL NOT NULL, prediction TEXT,
    outcome TEXT, reason TEXT NOT NULL DEFAULT '', settled_at REAL, images INTEGER NOT NULL DEFAULT 0,
    dollars REAL NOT NULL DEFAULT 0
)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spend.sqlite"


def limited(path, run="one", service="https://api.replicate.com", attempts=5, **budget):
    return SpendLedger(path, run, 0.25, Terms(service, "a/b", "1", attempts, BudgetSettings(**budget)))


def buy(ledger, key, outcome="drawn", images=1):
    return ledger.settle(ledger.created(ledger.intend(key), f"p-{key}"), outcome, images)


def test_a_request_under_way_counts_with_its_price(path):
    with limited(path, usd=0.5) as ledger:
        buy(ledger, "a")
        under_way = ledger.intend("b")
        with pytest.raises(LimitError, match=r"budget.usd = 0.5 is reached \(run one: \$0.500 spent or under way"):
            ledger.intend("c")
        ledger.settle(under_way, "failed")  # nothing was billed: its reservation is released
        buy(ledger, "c")
        assert ledger.latest("c").outcome == "drawn"


def test_an_unknown_purchase_counts_and_an_absent_one_does_not(path):
    with limited(path, usd=0.5) as ledger:
        ledger.settle(ledger.intend("a"), "absent")
        ledger.settle(ledger.intend("b"), "unknown")
        ledger.intend("c")
        with pytest.raises(LimitError):
            ledger.intend("d")


def test_draws_are_counted_by_run_and_by_day(path):
    with limited(path, run="one", draws=1) as one:
        buy(one, "a")
        with pytest.raises(LimitError, match=r"--budget.draws$"):
            one.intend("b")
    with limited(path, run="two", draws=1, draws_per_day=2) as two:
        buy(two, "b")
    with (
        limited(path, run="three", draws_per_day=2) as three,
        pytest.raises(LimitError, match=r"all runs today \(UTC\): 2 images bought.*or run it again tomorrow"),
    ):
        three.intend("c")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE purchases SET intended_at = intended_at - ?", (DAY,))
    database.close()
    with limited(path, run="three", draws_per_day=2) as three:
        three.intend("c")


def test_a_rehearsal_uses_up_no_real_budget(path):
    with limited(path, service="http://127.0.0.1:8080", usd_per_day=0.25) as rehearsal:
        buy(rehearsal, "a")
        with pytest.raises(LimitError):
            rehearsal.intend("b")
        assert rehearsal.spend().rehearsed_dollars == 0.25
    with limited(path, usd_per_day=0.25) as real:
        buy(real, "c")
        assert (real.spend().dollars, real.spend().rehearsed_dollars) == (0.5, 0.25)


def test_a_grade_is_reserved_at_most_and_settled_at_its_cost(path):
    with limited(path, usd=1.0) as ledger:
        first = ledger.reserve("k", 0.9)
        with pytest.raises(LimitError, match="the next request costs up to"):
            ledger.reserve("l", 0.2)
        ledger.answered(first, 0.1)
        ledger.answered(ledger.reserve("l", 0.2), None)
        assert (ledger.spend().grades, ledger.spend().grade_dollars) == (2, 0.1)
        assert (ledger.spend().predictions, ledger.spend().dollars) == (0, 0.0)
        with pytest.raises(LimitError):
            ledger.reserve("m", 0.8)


def test_a_row_says_who_sold_what(path):
    with limited(path) as ledger:
        ledger.intend("a")
    with sqlite3.connect(path) as database:
        row = database.execute("SELECT service, model, version, price, rehearsed FROM purchases").fetchone()
    database.close()
    assert row == ("https://api.replicate.com", "a/b", "1", 0.25, 0)


def test_a_ledger_of_an_older_version_is_read(path):
    with sqlite3.connect(path) as database:
        database.execute(OLDER)
        database.execute(
            "INSERT INTO purchases (key, run, intended_at, outcome, images, dollars) "
            "VALUES ('a', 'one', 0, 'drawn', 1, 0.5)"
        )
    database.close()
    with limited(path, usd=0.5) as ledger:
        assert ledger.spend("one").dollars == 0.5
        with pytest.raises(LimitError):
            ledger.intend("b")


def test_threads_cannot_exceed_a_limit_together(path):
    def try_to_buy(i):
        with limited(path, run=f"run-{i % 2}", draws_per_day=5) as ledger:
            try:
                return ledger.intend(str(i))
            except LimitError:
                return None

    with ThreadPoolExecutor(8) as pool:
        assert sum(bought is not None for bought in pool.map(try_to_buy, range(24))) == 5


def test_two_processes_share_one_budget_of_the_day(path):
    script = """
        import sys
        from pathlib import Path
        from cache.ledger import SpendLedger, Terms
        from duel.errors import LimitError
        from duel.settings import BudgetSettings
        terms = Terms("https://api.replicate.com", "a/b", "1", 5, BudgetSettings(usd_per_day=2.0))
        bought = 0
        with SpendLedger(Path(sys.argv[1]), sys.argv[2], 0.25, terms) as ledger:
            for i in range(20):
                try:
                    ledger.settle(ledger.intend(f"{sys.argv[2]} {i}"), "drawn", 1)
                    bought += 1
                except LimitError:
                    pass
        print(bought)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    processes = [subprocess.Popen([*command, run], stdout=subprocess.PIPE, text=True) for run in ("one", "two")]
    assert sum(int(process.communicate()[0]) for process in processes) == 8
    with SpendLedger(path) as ledger:
        assert ledger.spend().dollars == 2.0


def test_a_draw_that_always_fails_is_bought_five_times_over_all_tries_and_processes(server, path, tmp_path):
    server.faults.script("prediction", *["failed"] * 40)
    for _ in range(4):  # a stage's retries, and new processes
        with (
            limited(path, service=server.url) as ledger,
            ReplicateGenerator(ledger, parameters=PNG, retries=QUICK) as generator,
            ImageStore(tmp_path / "images") as store,
            pytest.raises((GeneratorError, LimitError)) as caught,
        ):
            CachedGenerator(generator, store, 2).draw(["a", "b"], [0, 0], "run/round-0000/draw")
    assert server.counts()["created"] == 10
    assert isinstance(caught.value, LimitError)
    assert "was bought 5 times from a/b without an image, the last: " in str(caught.value)
    assert "resume with a higher --generator.attempts" in str(caught.value)


def test_more_attempts_may_be_allowed(path):
    with limited(path, attempts=1) as ledger:
        buy(ledger, "a", "failed", 0)
        with pytest.raises(LimitError, match="no reason given"):
            ledger.intend("a")
        ledger.intend("b")
    with limited(path, attempts=2) as ledger:
        ledger.intend("a")
