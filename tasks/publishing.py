"""Publish a run's progress, tables, images and plots as Prefect artifacts while it runs.

What cannot be published is logged and never ends the run: the UI is not the experiment.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events import emit_event

from artifacts import prefect_ui
from artifacts.evaluation.read import read_evaluations
from artifacts.evaluation.table import evaluation_table
from artifacts.run.metrics import read_training_log
from duel.errors import LimitError
from tasks.context import EvaluationContext, TrainingContext
from tasks.services import read_spend
from tasks.stages import stage

log = logging.getLogger(__name__)
LIMIT_REACHED = "duel.limit-reached"  # a Prefect event, for automations
UPDATES = 100  # of a run's progress bar, at most


def publish_progress(context: TrainingContext, done: int) -> None:
    """Update the run's progress bar, at most about a hundred times in a run."""
    rounds = context.settings.rounds
    if done % max(1, rounds // UPDATES) == 0 or done == rounds:
        with publication(context.run.name, "progress"):
            context.progress = prefect_ui.show_progress(context.run, done, rounds, context.progress)


def publish_run(context: TrainingContext, round: int) -> None:
    """Publish the state of the run after `round` rounds: last rounds, images, plots, evaluations, spend."""
    with publication(context.run.name, "state"):
        show_run(context, round)


def publish_evaluations(context: EvaluationContext, round: int) -> None:
    """Publish evaluations and plots; `round` is the number of rounds of the last checkpoint evaluated."""
    with publication(context.run.name, "evaluations"):
        show_evaluations(context, round)


@contextmanager
def publication(run: str, what: str) -> Iterator[None]:
    """Log an error of the block as a warning."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # whatever it is, the run does not depend on it
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        log.warning("the %s of %s could not be published in the Prefect UI: %s", what, run, reason)


@stage("publish_run", cached=False, title="after {round:04d} rounds {label}")
def show_run(context: TrainingContext, round: int) -> None:
    """Write the run's tables, images and plots to Prefect."""
    log, evaluations = read_training_log(context.run), read_evaluations(context.run)
    rows = evaluation_table(evaluations)
    prefect_ui.show_rounds(context.run, log)
    prefect_ui.show_images(context.run)
    prefect_ui.show_plots(evaluations, log, rows)
    prefect_ui.show_evaluations(context.run, rows)
    prefect_ui.show_strata(evaluations)
    prefect_ui.show_spend(context.run, read_spend(context.run))


@stage("publish_evaluations", cached=False, title="after {round:04d} rounds {label}")
def show_evaluations(context: EvaluationContext, round: int) -> None:
    """Write the run's evaluations and plots to Prefect."""
    evaluations = read_evaluations(context.run)
    rows = evaluation_table(evaluations)
    prefect_ui.show_plots(evaluations, read_training_log(context.run), rows)
    prefect_ui.show_evaluations(context.run, rows)
    prefect_ui.show_strata(evaluations)


@contextmanager
def announced_limits(run: str) -> Iterator[None]:
    """Emit LIMIT_REACHED about the resource `duel.run.NAME` when the block ends with a LimitError."""
    try:
        yield
    except LimitError as error:
        emit_event(
            LIMIT_REACHED,
            resource={"prefect.resource.id": f"duel.run.{run}", "prefect.resource.name": run},
            payload={"message": str(error)},
        )
        raise
