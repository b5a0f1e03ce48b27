"""The report flow: plots, HTML and PDF of a run."""

from pathlib import Path

from prefect import flow

from duel.settings import Settings
from duel.state import StateDirectory
from tasks.reporting import write_run_report


@flow(name="report", flow_run_name="{run}")
def report(settings: Settings | None, run: str, compare: str | None = None, state: Path | None = None) -> str:
    """Write the plots and the report of a run, optionally compared with another run; return the path of report.html."""
    return str(write_run_report(settings, run, compare, StateDirectory.default(state)))
