"""The update stage: one GRPO step of one player; never cached, and never applied twice."""

import dataclasses

from duel.types import Group, ModelInput, Player, UpdateReport
from tasks.anchoring import Anchor
from tasks.context import TrainingContext
from tasks.stages import stage
from tasks.writing import description, invention


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
    refused = len(groups) - len(usable)  # the original was refused: nothing was described
    return dataclasses.replace(report, groups=len(groups), skipped_groups=report.skipped_groups + refused)


def _input_of(context: TrainingContext, player: Player, group: Group) -> ModelInput:
    return invention(context) if player == "adversary" else description(context, group.attempts[0].original)
