"""Writing down what happened: rounds, checkpoints, evaluations."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from artifacts.evaluation.export import write_results
from artifacts.evaluation.write import asked_how
from artifacts.run import checkpoints, files
from artifacts.run.checkpoints import Checkpoint, list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import append_metrics, append_timings, has_metrics
from artifacts.run.rounds import write_round
from duel.settings import Settings
from duel.types import PlayedRound, ProxyMeasured, Question
from tasks.context import TrainingContext
from tasks.stages import digest, stage


@stage("record_round", cached=False)
def record_round(context: TrainingContext, round: int, played: PlayedRound) -> None:
    """Write the round's images, texts, PDF, timings and metrics; a round that was only replayed has them already.

    The line of metrics comes last: a round that has one is recorded whole.
    """
    if not has_metrics(context.run, played.record):
        write_round(context.run, played.record, context.generator.read)
        append_timings(context.run, round, played.seconds, played.draws_made)
        append_metrics(context.run, played.record)


@stage("save_checkpoint", cached=False, title="after {round:04d} rounds save_checkpoint")
def save_checkpoint(context: TrainingContext, round: int) -> None:
    """Keep both players as they are after `round` rounds; a checkpoint that exists is left alone."""
    if round not in {checkpoint.rounds_done for checkpoint in list_checkpoints(context.run)}:
        checkpoints.write_checkpoint(context.run, round, context.players, context.settings.keep_training_states)


def record_evaluation(context: TrainingContext, measured: ProxyMeasured) -> None:
    """Write a proxy evaluation."""
    path = context.run.eval_logs / f"eval-{measured.round:04d}.json"
    files.write_json(path, {name: value for name, value in dataclasses.asdict(measured).items() if value is not None})


def checkpoints_to_evaluate(run: RunDirectory, questions: Sequence[Question]) -> list[Checkpoint]:
    """Return the checkpoints that have no answers to these questions, asked in this way, yet."""
    if not questions:
        return []
    asked = question_digest(run.settings, questions)
    return [checkpoint for checkpoint in list_checkpoints(run) if _digest_of(run, checkpoint) != asked]


def record_answers(
    run: RunDirectory, checkpoint: Checkpoint, questions: Sequence[Question], result: dict[str, Any]
) -> None:
    """Write what `checkpoint` answered and how that was graded."""
    path = run.checkpoint_tests / f"{checkpoint.name}.json"
    how = asked_how(run.settings)
    files.write_json(path, {**result, "how": how, "asked": question_digest(run.settings, questions)})


def record_results(run: RunDirectory) -> None:
    """Write all evaluations of the run as tables, `results.csv` and `results_summary.csv`, both also as Parquet."""
    write_results(run)


def question_digest(settings: Settings, questions: Sequence[Question]) -> str:
    """Name the questions and how they are asked, so that equal evaluations are made once."""
    evaluation, judge = settings.evaluation, settings.judge
    how = [evaluation.completions, evaluation.temperature, evaluation.max_new_tokens, evaluation.answer]
    how += [judge.service, judge.model]
    return digest([list(questions), *how])


def _digest_of(run: RunDirectory, checkpoint: Checkpoint) -> str | None:
    path = run.checkpoint_tests / f"{checkpoint.name}.json"
    return json.loads(path.read_text())["asked"] if path.exists() else None
