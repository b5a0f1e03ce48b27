"""Writing a run's plots and report."""

from pathlib import Path

from artifacts.report import write_report
from artifacts.report_content import Spending
from artifacts.run import RunDirectory
from cache.ledger import SpendLedger
from duel.settings import Settings
from tasks.spending import ledger_of


def write_run_report(settings: Settings | None, run: str, compare: str | None, state: Path) -> Path:
    """Write the plots and the report of a run, alone or against another; return the HTML file."""
    directory = RunDirectory.read(state, run, settings)
    other = RunDirectory.read(state, compare) if compare is not None else None
    return write_report(directory, other, read_spending(directory))


def read_spending(run: RunDirectory) -> Spending | None:
    """Return what a run's drawings cost; None when the ledger knows of nothing that it bought."""
    path = ledger_of(run)
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
