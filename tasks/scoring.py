"""The reward stage: how alike original and reconstruction are, and what that earns each player."""

from duel.rewards import adversary_reward, base_reward
from duel.types import Attempt, Completion, Drawing, Group, Player
from tasks.context import TrainingContext
from tasks.stages import stage


@stage("score")
def score(
    context: TrainingContext,
    round: int,
    originals: list[list[Drawing]],
    reconstructions: list[list[Drawing]],
    player: Player,
) -> list[list[Attempt]]:
    """Compare every reconstruction with its original, (I, G), and reward `player` for it."""
    return compare(context, originals, reconstructions, player)


def compare(
    context: TrainingContext, originals: list[list[Drawing]], reconstructions: list[list[Drawing]], player: Player
) -> list[list[Attempt]]:
    """Return the attempts; a single original of a group stands for all of its reconstructions."""
    both = (originals, reconstructions)
    drawn = {d.key: d for groups in both for group in groups for d in group if d.key is not None}
    keys = sorted(drawn)  # each distinct image is embedded once, in an order that depends on content alone
    embeddings = dict(
        zip(keys, context.embedder.embed([context.generator.image(drawn[key]) for key in keys]), strict=True)
    )

    def attempt(original: Drawing, reconstruction: Drawing) -> Attempt:
        if original.key is None or reconstruction.key is None:
            similarity = None
        else:
            similarity = float(embeddings[original.key] @ embeddings[reconstruction.key])
        reward = base_reward(similarity) if player == "base" else adversary_reward(original, similarity)
        return Attempt(original, reconstruction, similarity, reward)

    return [
        [
            attempt(original, redrawn)
            for original, redrawn in zip(_spread(row, len(redrawn_row)), redrawn_row, strict=True)
        ]
        for row, redrawn_row in zip(originals, reconstructions, strict=True)
    ]


def to_groups(completions: list[list[Completion]], attempts: list[list[Attempt]]) -> list[Group]:
    """Pair the completions of the player that learns with the attempts they made."""
    return [Group(texts, tried) for texts, tried in zip(completions, attempts, strict=True)]


def _spread(originals: list[Drawing], count: int) -> list[Drawing]:
    return originals * count if len(originals) == 1 else originals
