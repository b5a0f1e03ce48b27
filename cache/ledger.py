"""The spend ledger: a durable journal of paid requests in SQLite, for resuming draws and for costs by run.

SQLite rather than a file of JSON lines: a draw looks up one key's last purchase, a report sums by run, and threads and
processes write concurrently. A committed transaction survives a kill and, with `synchronous=FULL`, a power cut. It uses
the default rollback journal rather than WAL, which two processes cannot enable at once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache.budget import Request, check_attempts, check_budget, transaction
from duel.closing import Closing
from duel.errors import RunError, storing
from duel.generators.replicate.journal import Outcome, Purchase
from duel.services.addresses import is_loopback
from duel.settings import BudgetSettings
from duel.types import Spend

TABLES = """
CREATE TABLE IF NOT EXISTS purchases (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    run TEXT NOT NULL,
    intended_at REAL NOT NULL,
    prediction TEXT,
    outcome TEXT,
    reason TEXT NOT NULL DEFAULT '',
    settled_at REAL,
    images INTEGER NOT NULL DEFAULT 0,
    dollars REAL NOT NULL DEFAULT 0,
    uncertain INTEGER NOT NULL DEFAULT 0,
    service_at REAL,
    kind TEXT NOT NULL DEFAULT 'draw',
    service TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    price REAL NOT NULL DEFAULT 0,
    rehearsed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS purchases_of_key ON purchases (key, number);
CREATE INDEX IF NOT EXISTS purchases_of_prediction ON purchases (prediction);
CREATE INDEX IF NOT EXISTS purchases_of_run ON purchases (run);
CREATE INDEX IF NOT EXISTS purchases_by_time ON purchases (intended_at);
"""
LATER_COLUMNS = {  # that older files do not have
    "uncertain": "INTEGER NOT NULL DEFAULT 0",
    "service_at": "REAL",
    "kind": "TEXT NOT NULL DEFAULT 'draw'",  # draw or grade
    "service": "TEXT NOT NULL DEFAULT ''",  # address; empty: not known
    "model": "TEXT NOT NULL DEFAULT ''",
    "version": "TEXT NOT NULL DEFAULT ''",
    "price": "REAL NOT NULL DEFAULT 0",  # dollars for one image, or the most that a grade can cost
    "rehearsed": "INTEGER NOT NULL DEFAULT 0",  # 1: the service is on this machine
}
COLUMNS = "number, key, intended_at, service_at, prediction, outcome, reason"


@dataclass(frozen=True)
class Terms:
    """From whom a process buys, and within which limits."""

    service: str = ""  # address; empty: not known
    model: str = ""
    version: str = ""
    attempts: int = 5  # purchases per draw that end without an image
    budget: BudgetSettings = field(default_factory=BudgetSettings)

    @property
    def rehearsed(self) -> bool:
        """Whether the service is on this machine, and costs nothing."""
        return is_loopback(self.service)


class SpendLedger(Closing):
    """Implements `Journal` and `Account` in one SQLite file shared by all runs; safe across threads and processes.

    `run` is recorded with each purchase; `dollars_per_image` is applied when a purchase is settled, so that a later
    price does not change earlier sums. Raises RunError when `path` cannot be used.
    """

    def __init__(self, path: Path, run: str = "", dollars_per_image: float = 0.0, terms: Terms | None = None) -> None:
        self.run = run
        self.dollars_per_image = dollars_per_image
        self.terms = terms or Terms()
        self._lock = threading.Lock()
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _open_database(path)
        except (OSError, sqlite3.Error) as error:
            raise RunError(
                f"cannot open the spend ledger {path}: {error}; expected a file that can be written"
            ) from None

    def latest(self, key: str) -> Purchase | None:
        """Return the latest purchase of a draw, or None."""
        rows = self._ask(f"SELECT {COLUMNS} FROM purchases WHERE key = ? ORDER BY number DESC LIMIT 1", (key,))
        return Purchase(*rows[0]) if rows else None

    def intend(self, key: str, service_at: float | None = None) -> Purchase:
        """Record that a prediction is about to be created; returns once that is on disk.

        Raises LimitError, without a record, when the budget or the attempts at this draw are used up.
        """
        with self._lock, storing(self._path), transaction(self._database):
            check_attempts(self._database, key, self.terms.model, self.terms.attempts)
            return Purchase(*self._insert(key, "draw", self.dollars_per_image, service_at))

    def created(self, purchase: Purchase, prediction: str) -> Purchase:
        """Record the service's id of the prediction."""
        return self._write(
            f"UPDATE purchases SET prediction = ? WHERE number = ? RETURNING {COLUMNS}", (prediction, purchase.number)
        )

    def settle(
        self, purchase: Purchase, outcome: Outcome, images: int = 0, reason: str = "", uncertain: int = 0
    ) -> Purchase:
        """Record the outcome, the number of images billed, and of those that may have been billed besides."""
        return self._write(
            "UPDATE purchases SET outcome = ?, images = ?, dollars = ?, uncertain = ?, reason = ?, settled_at = ? "
            f"WHERE number = ? RETURNING {COLUMNS}",
            (outcome, images, images * self.dollars_per_image, uncertain, reason, time.time(), purchase.number),
        )

    def known(self, predictions: Collection[str]) -> set[str]:
        """Return those of the given prediction ids that are recorded."""
        places = ", ".join("?" * len(predictions))
        rows = self._ask(f"SELECT prediction FROM purchases WHERE prediction IN ({places})", list(predictions))
        return {row[0] for row in rows}

    def reserve(self, key: str, dollars: float) -> int:
        """Record that a judge is about to be asked, at most for these dollars; return the record's number.

        Raises LimitError, without a record, when the budget is used up.
        """
        with self._lock, storing(self._path), transaction(self._database):
            return int(self._insert(key, "grade", dollars)[0])

    def answered(self, number: int, dollars: float | None) -> None:
        """Record what a request to a judge cost; None: it cannot be told, and counts with the most it can cost."""
        self._ask(
            "UPDATE purchases SET outcome = ?, dollars = ?, settled_at = ? WHERE number = ?",
            ("unknown" if dollars is None else "graded", dollars or 0.0, time.time(), number),
        )

    def spend(self, run: str | None = None) -> Spend:
        """Return the total spend of a run, or of all runs; a draw belongs to the run that paid for it."""
        where, values = ("WHERE kind = 'draw'", []) if run is None else ("WHERE kind = 'draw' AND run = ?", [run])
        rows = self._ask(
            "SELECT coalesce(outcome, 'under_way'), count(*), count(prediction), total(images), total(dollars), "
            "total(uncertain) "
            f"FROM purchases {where} GROUP BY 1",
            values,
        )
        counts = {outcome: count for outcome, count, *_ in rows if outcome != "absent"}
        return Spend(
            predictions=sum(row[2] for row in rows),
            **{name: counts.get(name, 0) for name in ("drawn", "refused", "failed", "lost", "unknown", "under_way")},
            images=int(sum(row[3] for row in rows)),
            dollars=sum(row[4] for row in rows),
            uncertain=int(sum(row[5] for row in rows)),
            **self._besides(run),
        )

    def _besides(self, run: str | None) -> dict[str, Any]:
        """Return the fields of Spend about grades and rehearsals."""
        where, values = ("", []) if run is None else ("WHERE run = ?", [run])
        (row,) = self._ask(
            "SELECT count(*) FILTER (WHERE kind = 'grade'), total(dollars) FILTER (WHERE kind = 'grade'), "
            f"total(dollars) FILTER (WHERE rehearsed) FROM purchases {where}",
            values,
        )
        return dict(zip(("grades", "grade_dollars", "rehearsed_dollars"), row, strict=True))

    def close(self) -> None:
        """Close the database; the ledger cannot be used afterwards."""
        with self._lock:
            self._database.close()

    def _insert(self, key: str, kind: str, price: float, service_at: float | None = None) -> tuple[Any, ...]:
        """Record an intent within the limits of the budget and return its COLUMNS; to be called in a transaction."""
        terms = self.terms
        check_budget(self._database, terms.budget, Request(kind, self.run, price, terms.rehearsed))
        values = {
            "key": key,
            "run": self.run,
            "intended_at": time.time(),
            "service_at": service_at,
            "kind": kind,
            "service": terms.service,
            "model": terms.model,
            "version": terms.version,
            "price": price,
            "rehearsed": terms.rehearsed,
        }
        places = ", ".join("?" * len(values))
        row: tuple[Any, ...] = self._database.execute(
            f"INSERT INTO purchases ({', '.join(values)}) VALUES ({places}) RETURNING {COLUMNS}", list(values.values())
        ).fetchone()
        return row

    def _ask(self, statement: str, values: Sequence[Any]) -> list[Any]:
        with self._lock, storing(self._path):
            return self._database.execute(statement, values).fetchall()

    def _write(self, statement: str, values: Sequence[Any]) -> Purchase:
        (row,) = self._ask(statement, values)
        return Purchase(*row)


def _open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA synchronous=FULL")
        database.executescript(TABLES)
        _add_columns(database)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _add_columns(database: sqlite3.Connection) -> None:
    """Add the columns that a file of an older version does not have."""
    with transaction(database):  # another process may open the file at the same time
        present = {row[1] for row in database.execute("PRAGMA table_info(purchases)")}
        for name, definition in LATER_COLUMNS.items():
            if name not in present:
                database.execute(f"ALTER TABLE purchases ADD COLUMN {name} {definition}")
