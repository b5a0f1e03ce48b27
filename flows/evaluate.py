"""The evaluation flow: pass@1 of the untrained base and of every checkpoint, on questions training never sees."""

from pathlib import Path
from typing import NoReturn

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from tqdm import tqdm

from artifacts.run.checkpoints import Checkpoint
from artifacts.run.directory import RunDirectory
from duel.data.dataset import Dataset
from duel.errors import DamagedError, DuelError, JudgeError
from duel.judges.base import Noted
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Completion, Grade, Question
from flows.progress import progress_bar
from tasks.context import EvaluationContext, open_evaluation
from tasks.evaluating import answer_questions, development_figures, evaluation_questions, grade_answers
from tasks.preparing import open_dataset
from tasks.publishing import announced_limits, publish_evaluations
from tasks.recording import checkpoints_to_evaluate, record_answers, record_results


def flow_run_name() -> str:
    """Return the run's name, or `all runs`."""
    return str(flow_run.parameters["run"] or "all runs")


@flow(name="evaluate", flow_run_name=flow_run_name)
def evaluate(settings: Settings | None = None, run: str | None = None, state: Path | None = None) -> State[None]:
    """Evaluate every checkpoint that has no result for these questions yet; `ckpt-0` is the untrained base.

    Without `run`, all runs are evaluated; without `settings`, each with its own. For a run without new checkpoints, no
    model is loaded and the judge is not called.
    """
    folder = StateDirectory.default(state)
    names = [run] if run is not None else RunDirectory.names(folder)
    messages, failed = [], False
    for name in names:
        try:
            messages.append(evaluated_message(name, evaluate_run(settings, name, folder)))
        except DuelError as error:  # a run that cannot be evaluated does not stop the evaluation of the others
            if run is not None:
                raise
            messages.append(f"{name}: {error}")
            failed = True
    message = "; ".join(messages) or f"there is no run in {folder.path}"
    return Failed(message=message) if failed else Completed(message=message)


def evaluate_run(settings: Settings | None, run: str, state: StateDirectory) -> int:
    """Evaluate one run; return the number of checkpoints evaluated.

    Raises DamagedError when a checkpoint could not be read, and JudgeError when no answer of one could be graded, after
    the others were evaluated.
    """
    directory = RunDirectory.read(state, run, settings)
    dataset = open_dataset(directory.settings.data, state)
    questions = evaluation_questions(directory.settings.evaluation, dataset)
    waiting = checkpoints_to_evaluate(directory, questions)
    damaged: list[DamagedError] = []
    if waiting:
        damaged = evaluate_checkpoints(directory, dataset, questions, waiting, state)
    record_results(directory)
    if damaged:
        raise DamagedError(f"{damaged[0]}; {len(damaged)} of {len(waiting)} checkpoints not evaluated, the others are")
    ungraded = [one for one in checkpoints_to_evaluate(directory, questions) if one in waiting]
    if ungraded:
        raise JudgeError(
            f"the judge graded no answer of {ungraded[0].name}; {len(ungraded)} of {len(waiting)} checkpoints are not "
            "evaluated: read why in the log, then evaluate again"
        )
    return len(waiting)


def evaluate_checkpoints(
    run: RunDirectory, dataset: Dataset, questions: list[Question], waiting: list[Checkpoint], state: StateDirectory
) -> list[DamagedError]:
    """Answer and grade the questions with each of the checkpoints, and record the results; the bar counts answers.

    Returns an error for each checkpoint whose weights cannot be read.
    """
    damaged = []
    development = development_figures(run.settings.evaluation, dataset)
    answers_wanted = len(waiting) * len(questions) * run.settings.evaluation.completions
    with (
        announced_limits(run.name),
        open_evaluation(run, dataset, state) as context,
        progress_bar(answers_wanted, f"{run.name}: {len(waiting)} checkpoints answer", "answers") as bar,
    ):
        for checkpoint in waiting:
            try:
                checkpoint.check(checkpoint.weights("base"))
                context.players["base"].load(checkpoint.weights("base"))
            except DamagedError as error:
                damaged.append(error)
                continue
            answers, grades = question_base(context, checkpoint.rounds_done, questions, bar)
            note = context.judge.note if isinstance(context.judge, Noted) else ""
            record_answers(run, checkpoint, questions, answers, grades, development, note)
        publish_evaluations(context, waiting[-1].rounds_done)
    return damaged


def question_base(
    context: EvaluationContext, rounds: int, questions: list[Question], bar: "tqdm[NoReturn]"
) -> tuple[list[list[Completion]], list[list[Grade]]]:
    """Return the base's answers to all questions and their grades, both (questions, completions).

    Questions are answered in batches of `evaluation.questions_at_once`.
    """
    size = context.settings.evaluation.questions_at_once
    answers: list[list[Completion]] = []
    grades: list[list[Grade]] = []
    for start in range(0, len(questions), size):
        batch = questions[start : start + size]
        given = answer_questions(context, rounds, batch).value
        answers += given
        grades += grade_answers(context, rounds, batch, given).value
        bar.update(sum(len(row) for row in given))
    return answers, grades


def evaluated_message(run: str, new: int) -> str:
    """Return the message about a run with `new` evaluated checkpoints."""
    if not new:
        return f"{run}: no new checkpoints; no model was loaded and the judge was not called"
    return f"{run}: {new} new checkpoint{'s' if new > 1 else ''} evaluated"
