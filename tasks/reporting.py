"""Write a run's result tables, plots and report."""

from pathlib import Path

from artifacts.report.html import write_report
from artifacts.run.directory import RunDirectory
from duel.settings import Settings
from duel.state import StateDirectory
from tasks.services import read_spend


def write_run_report(settings: Settings | None, run: str, compare: str | None, state: StateDirectory) -> Path:
    """Write the tables, plots and report of a run, optionally compared with the run `compare`; return the HTML file."""
    directory = RunDirectory.read(state, run, settings)
    other = RunDirectory.read(state, compare) if compare is not None else None
    return write_report(directory, other, read_spend(directory))
