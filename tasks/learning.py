"""The update stage: one GRPO step of one player; never cached, and never applied twice."""

import dataclasses
import logging

from artifacts.run.jsonl import read_rows
from duel.errors import RunError
from duel.types import Group, ModelInput, Player, RoundRecord, UpdateReport
from tasks.anchoring import Anchor
from tasks.context import TrainingContext
from tasks.stages import stage
from tasks.writing import description, invention

log = logging.getLogger(__name__)
NOT_FINITE = "its loss, a gradient or an embedding is not a finite number"


@stage("learn", cached=False, retries=1)
def learn(
    context: TrainingContext, round: int, player: Player, groups: list[Group], anchors: list[Anchor]
) -> UpdateReport:
    """Update `player` on the round's groups, and on the anchor's answers if there are any; return the report.

    A retry compares the policy's own count of rounds with the schedule: if the step was already taken, it returns the
    report of that step.
    """
    policy = context.players[player]
    usable = [group for group in groups if player == "adversary" or group.attempts[0].original.key is not None]
    if policy.rounds_learned <= context.settings.schedule.turns_before(round):
        inputs = [_input_of(context, player, group) for group in usable]
        near = [(ModelInput(a.instruction, context.generator.image(a.image)), a.answer) for a in anchors]
        if near:
            policy.learn(inputs, usable, near)
        else:  # a policy of the user's own may know no anchors
            policy.learn(inputs, usable)
    report = policy.last_update
    if report.loss is None:
        log.warning("round %d: the update of the %s was skipped: %s", round, player, NOT_FINITE)
    refused = len(groups) - len(usable)  # the original was refused: nothing was described
    return dataclasses.replace(report, groups=len(groups), skipped_groups=report.skipped_groups + refused)


def check_skipped(context: TrainingContext, record: RoundRecord) -> None:
    """Raise RunError when this update was skipped, and so were the player's `max_skipped_updates - 1` before it.

    The round must be recorded already.
    """
    if record.update.loss is not None:
        return
    most = context.settings.max_skipped_updates
    losses = [row["loss"] for row in read_rows(context.run.metrics) if row["player"] == record.player][-most:]
    if len(losses) == most and not any(loss is not None for loss in losses):
        raise RunError(
            f"the last {most} updates of the {record.player} were skipped: {NOT_FINITE}; weights and "
            f"checkpoints are as before them, and the round is kept in {context.run.round_directory(record.round)}; "
            f"lower {record.player}.optimizer.learning_rate in a new run, or go on with a higher max_skipped_updates"
        )


def _input_of(context: TrainingContext, player: Player, group: Group) -> ModelInput:
    return invention(context) if player == "adversary" else description(context, group.attempts[0].original)
