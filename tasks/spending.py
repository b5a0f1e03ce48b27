"""What a run's images cost, as the spend ledger knows it."""

import dataclasses
from pathlib import Path
from typing import Any

from artifacts.run import RunDirectory
from cache.ledger import SpendLedger


def spend_of(run: RunDirectory) -> dict[str, Any]:
    """Return what the run's images cost; a run whose images are drawn on this machine has no ledger."""
    path = ledger_of(run)
    if run.settings.generator.service != "replicate" or not path.exists():
        return {"service": run.settings.generator.service, "dollars": 0.0}
    with SpendLedger(path) as ledger:
        return {"service": run.settings.generator.service, **dataclasses.asdict(ledger.spend(run.name))}


def ledger_of(run: RunDirectory) -> Path:
    """Return where the spend ledger of the run's state directory lies."""
    return run.path.parent.parent / "spend.sqlite"
