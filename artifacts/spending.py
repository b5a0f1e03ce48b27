"""What a run's drawings cost, as whoever reads the ledger hands it to status, report and Prefect UI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spending:
    """What the drawing service billed for the run, from the ledger."""

    dollars: float
    images: int  # billed, refusals included
    counts: Mapping[str, int]  # how requests ended: drawn, refused, failed, lost, unknown, under way
