"""The reward stage: how alike original and reconstruction are, and what that earns the player that learns."""

from duel.rewards import Described
from duel.scoring import compare, reward_attempts
from duel.types import Attempt, Completion, Drawing, Group, Player
from tasks.context import TrainingContext
from tasks.stages import stage


@stage("score")
def score(
    context: TrainingContext,
    round: int,
    originals: list[list[Drawing]],
    reconstructions: list[list[Drawing]],
    ceilings: list[list[Drawing]],
    player: Player,
) -> list[list[Attempt]]:
    """Compare every reconstruction with its original, (I, G), and reward `player` for it."""
    return reward_attempts(compare_images(context, originals, reconstructions, ceilings), player, context.rewards)


def compare_images(
    context: TrainingContext,
    originals: list[list[Drawing]],
    reconstructions: list[list[Drawing]],
    ceilings: list[list[Drawing]],
) -> list[list[Described]]:
    """Compare drawings with the run's embedder, their images read from the store."""
    return compare(originals, reconstructions, ceilings, context.embedder.embed, context.generator.image)


def to_groups(completions: list[list[Completion]], attempts: list[list[Attempt]]) -> list[Group]:
    """Pair the completions of the player that learns with the attempts they made."""
    return [Group(texts, tried) for texts, tried in zip(completions, attempts, strict=True)]
