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
from pathlib import Path
from typing import Any

from duel.closing import Closing
from duel.errors import RunError, storing
from duel.generators.replicate.journal import Outcome, Purchase
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
    service_at REAL
);
CREATE INDEX IF NOT EXISTS purchases_of_key ON purchases (key, number);
CREATE INDEX IF NOT EXISTS purchases_of_prediction ON purchases (prediction);
"""
COLUMNS = "number, key, intended_at, service_at, prediction, outcome, reason"
LATER_COLUMNS = {"uncertain": "INTEGER NOT NULL DEFAULT 0", "service_at": "REAL"}  # that older files do not have


class SpendLedger(Closing):
    """Implements `Journal` in one SQLite file shared by all runs; safe across threads and processes.

    `run` is recorded with each purchase; `dollars_per_image` is applied when a purchase is settled, so that a later
    price does not change earlier sums. Raises RunError when `path` cannot be used.
    """

    def __init__(self, path: Path, run: str = "", dollars_per_image: float = 0.0) -> None:
        self.run = run
        self.dollars_per_image = dollars_per_image
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
        """Record that a prediction is about to be created; returns once that is on disk."""
        return self._write(
            f"INSERT INTO purchases (key, run, intended_at, service_at) VALUES (?, ?, ?, ?) RETURNING {COLUMNS}",
            (key, self.run, time.time(), service_at),
        )

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

    def spend(self, run: str | None = None) -> Spend:
        """Return the total spend of a run, or of all runs; a draw belongs to the run that paid for it."""
        where, values = ("", []) if run is None else ("WHERE run = ?", [run])
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
        )

    def close(self) -> None:
        """Close the database; the ledger cannot be used afterwards."""
        with self._lock:
            self._database.close()

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
    database.execute("BEGIN IMMEDIATE")  # another process may open the file at the same time
    present = {row[1] for row in database.execute("PRAGMA table_info(purchases)")}
    for name, definition in LATER_COLUMNS.items():
        if name not in present:
            database.execute(f"ALTER TABLE purchases ADD COLUMN {name} {definition}")
    database.execute("COMMIT")
