"""What a run's drawings cost, read from the spend ledger of its state directory."""

from artifacts.run import RunDirectory
from artifacts.spending import Spending
from cache.ledger import SpendLedger


def read_spending(run: RunDirectory) -> Spending | None:
    """Return what a run's drawings cost; None when the ledger knows of nothing that it bought."""
    path = run.path.parent.parent / "spend.sqlite"
    if not path.exists():
        return None
    with SpendLedger(path) as ledger:
        spend = ledger.spend(run.name)
    counts = {
        "drawn": spend.drawn,
        "refused": spend.refused,
        "failed": spend.failed,
        "paid for but lost": spend.lost,
        "unknown whether paid": spend.unknown,
        "under way": spend.under_way,
    }
    counts = {outcome: count for outcome, count in counts.items() if count}
    return Spending(spend.dollars, spend.images, counts) if counts else None
