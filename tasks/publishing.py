"""Publish a run's progress, tables, images and plots as Prefect artifacts while it runs."""

from artifacts import prefect_ui
from artifacts.evaluation.read import read_evaluations
from artifacts.evaluation.table import evaluation_table
from artifacts.run.metrics import read_training_log
from tasks.context import EvaluationContext, TrainingContext
from tasks.services import read_spend
from tasks.stages import stage

UPDATES = 100  # of a run's progress bar, at most


def publish_progress(context: TrainingContext, done: int) -> None:
    """Update the run's progress bar, at most about a hundred times in a run."""
    rounds = context.settings.rounds
    if done % max(1, rounds // UPDATES) == 0 or done == rounds:
        context.progress = prefect_ui.show_progress(context.run, done, rounds, context.progress)


@stage("publish_run", cached=False, title="after {round:04d} rounds {label}")
def publish_run(context: TrainingContext, round: int) -> None:
    """Publish the state of the run after `round` rounds: last rounds, images, plots, evaluations, spend."""
    log, rows = read_training_log(context.run), evaluation_table(read_evaluations(context.run))
    prefect_ui.show_rounds(context.run, log)
    prefect_ui.show_images(context.run)
    prefect_ui.show_plots(context.run, log, rows)
    prefect_ui.show_evaluations(context.run, rows)
    prefect_ui.show_spend(context.run, read_spend(context.run))


@stage("publish_evaluations", cached=False, title="after {round:04d} rounds {label}")
def publish_evaluations(context: EvaluationContext, round: int) -> None:
    """Publish evaluations and plots; `round` is the number of rounds of the last checkpoint evaluated."""
    log, rows = read_training_log(context.run), evaluation_table(read_evaluations(context.run))
    prefect_ui.show_plots(context.run, log, rows)
    prefect_ui.show_evaluations(context.run, rows)
