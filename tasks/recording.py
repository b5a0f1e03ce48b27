"""Writing down what happened: rounds, checkpoints, evaluations."""

import json
from collections.abc import Sequence
from typing import Any

from artifacts import checkpoints, files
from artifacts.checkpoints import Checkpoint, list_checkpoints
from artifacts.metrics import append_metrics, append_timings
from artifacts.records import write_round
from duel.types import Question, RoundRecord
from tasks.places import Arena, Examination
from tasks.stages import digest, stage


@stage("record_round", cached=False)
def record_round(arena: Arena, round: int, record: RoundRecord) -> None:
    """Write the round's images, texts, PDF, metrics and timings."""
    write_round(arena.run, record, arena.studio.read)
    append_metrics(arena.run, record)
    append_timings(arena.run, round, arena.seconds, arena.draws_made)
    arena.seconds, arena.draws_made = {}, 0


@stage("save_checkpoint", cached=False)
def save_checkpoint(arena: Arena, round: int) -> None:
    """Keep both players as they are after `round` rounds; a checkpoint that exists is left alone."""
    if round not in {checkpoint.rounds_done for checkpoint in list_checkpoints(arena.run)}:
        checkpoints.write_checkpoint(arena.run, round, arena.players, arena.settings.keep_training_states)


def record_evaluation(arena: Arena, round: int, measured: dict[str, Any]) -> None:
    """Write the proxy evaluation made after `round` rounds; its draws are not the next round's."""
    files.write_json(arena.run.eval_logs / f"eval-{round:04d}.json", {**measured, "draws_made": arena.draws_made})
    arena.draws_made = 0


def checkpoints_to_evaluate(arena: Examination, questions: Sequence[Question]) -> list[Checkpoint]:
    """Return the checkpoints that have no answers to these questions, asked in this way, yet."""
    asked = question_digest(arena, questions)
    return [checkpoint for checkpoint in list_checkpoints(arena.run) if _digest_of(arena, checkpoint) != asked]


def record_answers(
    arena: Examination, checkpoint: Checkpoint, questions: Sequence[Question], result: dict[str, Any]
) -> None:
    """Write what `checkpoint` answered and how that was graded."""
    path = arena.run.checkpoint_tests / f"{checkpoint.name}.json"
    files.write_json(path, {**result, "asked": question_digest(arena, questions)})


def question_digest(arena: Examination, questions: Sequence[Question]) -> str:
    """Name the questions and how they are asked, so that equal evaluations are made once."""
    evaluation = arena.settings.evaluation
    judge = arena.settings.judge
    how = [evaluation.completions, evaluation.temperature, evaluation.max_new_tokens, evaluation.answer]
    how += [judge.service, judge.model]
    return digest([list(questions), *how])


def _digest_of(arena: Examination, checkpoint: Checkpoint) -> str | None:
    path = arena.run.checkpoint_tests / f"{checkpoint.name}.json"
    return json.loads(path.read_text())["asked"] if path.exists() else None
