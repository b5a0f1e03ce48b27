"""Showing a run in the Prefect UI while it goes on."""

from artifacts import prefect_ui
from tasks.context import Arena, Examination
from tasks.services import read_spend
from tasks.stages import stage

UPDATES = 100  # of a run's progress bar, at most


def publish_progress(arena: Arena, done: int) -> None:
    """Move the run's progress bar, a hundred times in a run."""
    rounds = arena.settings.rounds
    if done % max(1, rounds // UPDATES) == 0 or done == rounds:
        arena.progress = prefect_ui.show_progress(arena.run, done, rounds, arena.progress)


@stage("publish_run", cached=False, title="after {round:04d} rounds {label}")
def publish_run(arena: Arena, round: int) -> None:
    """Show the run as it is after `round` rounds: last rounds, images, plots, evaluations, spend."""
    prefect_ui.show_rounds(arena.run)
    prefect_ui.show_images(arena.run)
    prefect_ui.show_plots(arena.run)
    prefect_ui.show_evaluations(arena.run)
    prefect_ui.show_spend(arena.run, read_spend(arena.run))


@stage("publish_evaluations", cached=False, title="after {round:04d} rounds {label}")
def publish_evaluations(examination: Examination, round: int) -> None:
    """Show what the questions found up to the checkpoint of `round` rounds: evaluations and plots."""
    prefect_ui.show_plots(examination.run)
    prefect_ui.show_evaluations(examination.run)
