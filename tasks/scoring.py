"""The reward stage: similarities of originals and reconstructions, and the learning player's rewards."""

from collections.abc import Sequence

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
    recent: list[Drawing],
) -> list[list[Attempt]]:
    """Return every reconstruction with its similarity to the original and the reward of `player`, (I, G).

    `recent` are drawings of earlier rounds of the adversary, to which its new ones are compared.
    """
    described = compare_images(context, originals, reconstructions, ceilings, recent)
    return reward_attempts(described, player, context.rewards)


def compare_images(
    context: TrainingContext,
    originals: list[list[Drawing]],
    reconstructions: list[list[Drawing]],
    ceilings: list[list[Drawing]],
    recent: Sequence[Drawing] = (),
) -> list[list[Described]]:
    """Compute similarities with the run's embedder, with images read from the store; shapes as in `compare`."""
    return compare(
        originals,
        reconstructions,
        ceilings,
        context.embedder.embed,
        context.generator.image,
        recent,
        context.topic,
        context.settings.rewards.duplicate,
    )


def to_groups(completions: list[list[Completion]], attempts: list[list[Attempt]]) -> list[Group]:
    """Pair the learning player's completions with their attempts, both (I, G)."""
    return [Group(texts, tried) for texts, tried in zip(completions, attempts, strict=True)]
