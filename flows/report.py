"""The report flow: plots, HTML and PDF of a run."""

from pathlib import Path

from prefect import flow

from duel.settings import Settings
from duel.state import StateDirectory
from tasks.reporting import write_run_report


@flow(name="report", flow_run_name="{run}")
def report(settings: Settings | None, run: str, compare: str | None = None, state: Path | None = None) -> str:
    """Draw the plots of a run, alone or against another run, and write its report; return where it lies."""
    return str(write_run_report(settings, run, compare, StateDirectory.default(state)))
