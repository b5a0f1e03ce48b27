"""Write rounds, checkpoints and evaluations to the run directory."""

import dataclasses
from collections.abc import Container, Sequence

from artifacts.evaluation.export import write_results
from artifacts.evaluation.read import read_evaluations, read_tests
from artifacts.evaluation.table import evaluation_table
from artifacts.evaluation.write import asked_how, checkpoint_test, write_proxy, write_test
from artifacts.pdf.round import write_round_pdf
from artifacts.run import checkpoints
from artifacts.run.checkpoints import Checkpoint, list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import append_metrics, append_timings, has_metrics
from artifacts.run.rounds import write_round
from duel.data.dataset import question_fields
from duel.errors import SettingsError
from duel.evaluations import ProxyEvaluation
from duel.plugins import plugin_versions
from duel.services.addresses import judge_address
from duel.settings import Settings
from duel.types import Completion, Grade, PlayedRound, Question, RoundRecord
from tasks.context import TrainingContext
from tasks.stages import digest, stage


@stage("record_round", cached=False)
def record_round(context: TrainingContext, round: int, played: PlayedRound) -> None:
    """Write the round's images, texts, PDF, timings and metrics; does nothing for a replayed round that has them.

    The row in `metrics.jsonl` is written last: a round with a row is completely recorded.
    """
    if not has_metrics(context.run, played.record):
        write_round(context.run, played.record, context.generator.read, write_round_pdf)
        append_timings(context.run, round, played.seconds, played.draws_made)
        append_metrics(context.run, played.record)


def note_round(context: TrainingContext, record: RoundRecord) -> None:
    """Take up what the round found into what later rounds look back at."""
    context.note(record.round, record.player, [group.attempts for group in record.groups])


@stage("save_checkpoint", cached=False, title="after {round:04d} rounds save_checkpoint")
def save_checkpoint(context: TrainingContext, round: int) -> None:
    """Write a checkpoint of all players after `round` rounds; does nothing if it exists."""
    if round not in {checkpoint.rounds_done for checkpoint in list_checkpoints(context.run)}:
        checkpoints.write_checkpoint(context.run, round, context.players, context.settings.keep_training_states)


def record_evaluation(context: TrainingContext, measured: ProxyEvaluation) -> None:
    """Write a proxy evaluation to `eval_logs/`."""
    write_proxy(context.run, measured)


def checkpoints_to_evaluate(run: RunDirectory, questions: Sequence[Question]) -> list[Checkpoint]:
    """Return the checkpoints without graded answers to these questions under the run's evaluation settings."""
    if not questions:
        return []
    asked = question_digest(run.settings, questions)
    answered = {test.checkpoint_name for test in read_tests(run) if test.asked == asked and not test.all_ungraded}
    return [checkpoint for checkpoint in list_checkpoints(run) if checkpoint.name not in answered]


def record_answers(
    run: RunDirectory,
    checkpoint: Checkpoint,
    questions: Sequence[Question],
    answers: Sequence[Sequence[Completion]],
    grades: Sequence[Sequence[Grade]],
    development: Container[str],
    judge_note: str = "",
) -> None:
    """Write a checkpoint's answers and grades to `ckpt_tests/`; `development` holds the ids of development figures."""
    how = dataclasses.replace(asked_how(run.settings), judge_service=judge_name(run.settings))
    asked = question_digest(run.settings, questions)
    test = checkpoint_test(checkpoint.rounds_done, questions, answers, grades, development, how, asked)
    write_test(run, dataclasses.replace(test, judge_note=judge_note))


def record_results(run: RunDirectory) -> None:
    """Write the tables `results` and `results_summary` of all evaluations of the run, as CSV and as Parquet."""
    evaluations = read_evaluations(run)
    write_results(evaluations, evaluation_table(evaluations))


def question_digest(settings: Settings, questions: Sequence[Question]) -> str:
    """Return a digest of the questions, the evaluation settings and the judge; equal digests need no new evaluation."""
    evaluation, judge = settings.evaluation, settings.judge
    how = [evaluation.completions, evaluation.temperature, evaluation.max_new_tokens, evaluation.answer]
    how += [judge_name(settings), None if judge.service == "exact" else judge.model]
    return digest([[question_fields(question) for question in questions], *how])


def judge_name(settings: Settings) -> str:
    """Return the judge's name with what else decides its grades: a service's address, a plug-in class's version.

    A remote judge's grades are thus told apart from those of a test server. Raises SettingsError for a bad address.
    """
    if settings.judge.service == "openai":
        try:
            return f"openai at {judge_address()}"
        except ValueError as error:
            raise SettingsError(f"OPENAI_BASE_URL: {error}") from None
    own = plugin_versions(settings, "judge.service").get("judge.service")
    return settings.judge.service if own is None else str(own)
