"""Showing a run in the Prefect UI while it goes on."""

from artifacts import prefect_ui
from tasks.places import Arena, Place
from tasks.spending import read_spending
from tasks.stages import stage

UPDATES = 100  # of a run's progress bar, at most


def publish_progress(arena: Arena, done: int) -> None:
    """Move the run's progress bar, a hundred times in a run."""
    rounds = arena.settings.rounds
    if done % max(1, rounds // UPDATES) == 0 or done == rounds:
        arena.progress = prefect_ui.show_progress(arena.run, done, rounds, arena.progress)


@stage("publish_run", cached=False, title="after {round:04d} rounds {label}")
def publish_run(place: Place, round: int) -> None:
    """Show the run as it is after `round` rounds: last rounds, images, plots, evaluations, spend."""
    prefect_ui.show_rounds(place.run)
    prefect_ui.show_images(place.run)
    prefect_ui.show_plots(place.run)
    prefect_ui.show_evaluations(place.run)
    prefect_ui.show_spend(place.run, read_spending(place.run))
