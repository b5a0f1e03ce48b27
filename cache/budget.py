"""Limits on what may be bought: checked in the transaction that records the intent, so across threads and processes.

A request that is not settled counts with its price, so that requests under way cannot exceed a limit together.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from duel.errors import LimitError
from duel.settings import BudgetSettings

DAY = 86_400  # seconds
CENT_FRACTION = 1e-9  # dollars by which sums of floats may be off
USED = """
SELECT count(*) FILTER (WHERE kind = 'draw'),
       total(CASE WHEN outcome IS NULL OR outcome = 'unknown' THEN price ELSE dollars + uncertain * price END)
FROM purchases WHERE outcome IS NOT 'absent' AND rehearsed = ? AND """
OPEN_TO_RETRY = "('failed', 'lost', 'unknown')"  # outcomes after which the same draw is bought again


@dataclass(frozen=True)
class Request:
    """A paid request that is about to be sent."""

    kind: str  # draw or grade
    run: str
    dollars: float  # the most it can cost
    rehearsed: bool  # the service is on this machine: no money is spent, and it counts apart


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock of the database during the block; an exception undoes the block."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def check_budget(database: sqlite3.Connection, budget: BudgetSettings, request: Request) -> None:
    """Raise LimitError when a limit leaves no room for the request; call it within `transaction`."""
    today = time.time() // DAY * DAY
    run = (f"run {request.run}", "run = ?", request.run, "", (budget.draws, budget.usd))
    day = ("all runs today (UTC)", "intended_at >= ?", today, "_per_day", (budget.draws_per_day, budget.usd_per_day))
    for who, where, value, suffix, (draws, dollars) in (run, day):
        if draws is None and dollars is None:
            continue
        bought, spent = database.execute(USED + where, (request.rehearsed, value)).fetchone()
        if draws is not None and request.kind == "draw" and bought + 1 > draws:
            raise LimitError(_explain(f"draws{suffix}", f"{draws}", f"{who}: {bought} images bought", suffix))
        if dollars is not None and spent + request.dollars > dollars + CENT_FRACTION:
            said = f"{who}: ${spent:.3f} spent or under way, and the next request costs up to ${request.dollars:.4g}"
            raise LimitError(_explain(f"usd{suffix}", f"{dollars:g}", said, suffix))


def check_attempts(database: sqlite3.Connection, key: str, model: str, most: int) -> None:
    """Raise LimitError when a draw has failed `most` times, in any process; call it within `transaction`."""
    rows = database.execute(
        f"SELECT reason FROM purchases WHERE key = ? AND outcome IN {OPEN_TO_RETRY} ORDER BY number DESC", (key,)
    ).fetchall()
    if len(rows) >= most:
        raise LimitError(
            f"draw {key[:12]} was bought {len(rows)} times from {model or 'the service'} without an image, the last: "
            f"{rows[0][0] or 'no reason given'}; generator.attempts = {most} is reached, over all tries and processes; "
            "when the service is well again, resume with a higher --generator.attempts"
        )


def _explain(name: str, limit: str, said: str, suffix: str) -> str:
    later = ", or run it again tomorrow" if suffix else ""
    return (
        f"budget.{name} = {limit} is reached ({said}); nothing more is bought, and all that was bought is kept; to go "
        f"on exactly from here, run the same command with a higher --budget.{name}{later}"
    )
