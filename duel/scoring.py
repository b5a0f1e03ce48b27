"""Computes the similarities of originals and reconstructions, and the learning player's rewards from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from duel.data.topic import Topic
from duel.diversity import clusters, self_similarities
from duel.rewards import Described, Rewards
from duel.types import Attempt, Drawing, Player

if TYPE_CHECKING:
    from torch import Tensor

Embed = Callable[[Sequence[bytes]], "Tensor"]  # N images -> N unit vectors, (N, D)
ReadImage = Callable[[Drawing], bytes]  # image file of a drawing that was not refused


def compare(
    originals: list[list[Drawing]],
    reconstructions: list[list[Drawing]],
    ceilings: list[list[Drawing]],
    embed: Embed,
    read: ReadImage,
    recent: Sequence[Drawing] = (),
    topic: Topic | None = None,
    duplicate: float = 1.0,
) -> list[list[Described]]:
    """Return the similarities of each original to its reconstructions, its second drawing and the others, (I, n).

    A similarity is None where an image was refused, or where an embedding is not finite.

    Args:
        originals: (I, n), where n is 1 when the base learns and G when the adversary learns.
        reconstructions: (I, n * k), grouped by original.
        ceilings: Second drawings of the originals' prompts, (I, n); empty: not needed.
        embed: Called once, with each distinct image once.
        read: Returns the image file of a drawing.
        recent: Drawings of earlier rounds, none of them refused, to which originals are compared too.
        topic: Measures which originals are off the data set's topic; None: not asked for.
        duplicate: Similarity from which on two originals of a group are near-duplicates.
    """
    drawn = {
        drawing.key: drawing
        for groups in (originals, reconstructions, ceilings, [recent])
        for group in groups
        for drawing in group
        if drawing.key is not None
    }
    keys = sorted(drawn)  # so that the order depends on the images only
    embeddings = dict(zip(keys, embed([read(drawn[key]) for key in keys]), strict=True))

    def similarity(one: Drawing, other: Drawing | None) -> float | None:
        if one.key is None or other is None or other.key is None:
            return None
        cosine = float(embeddings[one.key] @ embeddings[other.key])
        return min(1.0, max(-1.0, cosine)) if math.isfinite(cosine) else None  # rounding errors may exceed 1

    def describe(
        original: Drawing, redrawn: list[Drawing], second: Drawing | None, alike: float | None, cluster: int | None
    ) -> Described:
        similarities = [similarity(original, drawing) for drawing in redrawn]
        texts = [drawing.text for drawing in redrawn]
        near = None if topic is None or original.key is None else topic.nearness(embeddings[original.key])
        near = near if near is not None and math.isfinite(near) else None
        off_topic = topic is not None and near is not None and not topic.has(near)
        ceiling = similarity(original, second)
        return Described(original, texts, redrawn, similarities, ceiling, alike, near, off_topic, cluster)

    described = []
    seconds: Sequence[Sequence[Drawing | None]] = ceilings or [[None] * len(row) for row in originals]
    for row, redrawn, second_row in zip(originals, reconstructions, seconds, strict=True):
        alike = self_similarities(row, recent, similarity)
        like = clusters(row, similarity, duplicate)
        columns = zip(row, _share_out(redrawn, len(row)), second_row, alike, like, strict=True)
        described.append([describe(*of_one) for of_one in columns])
    return described


def reward_attempts(described: list[list[Described]], player: Player, rewards: Rewards) -> list[list[Attempt]]:
    """Reward the base for every description, (I, n * k), or the adversary for every prompt, (I, n).

    A prompt that was described several times is one attempt: its similarity is the mean, and its reconstruction the one
    whose similarity is nearest to the mean.

    Raises SettingsError when a plug-in reward returns a wrong number of rewards or a value that is not finite.
    """
    reward_group = _reward_base if player == "base" else _reward_adversary
    return [reward_group(group, rewards) for group in described]


def _reward_base(group: list[Described], rewards: Rewards) -> list[Attempt]:
    attempts = []
    for described in group:
        attempts += _attempts(described, rewards.of_descriptions(described))
    return attempts


def _reward_adversary(group: list[Described], rewards: Rewards) -> list[Attempt]:
    attempts = []
    for described, (reward, parts) in zip(group, rewards.of_prompts(group), strict=True):
        mean = described.mean_similarity
        shown = described.reconstructions[_nearest(described.similarities, mean)]
        attempts.append(Attempt(described.original, shown, mean, reward, described.ceiling, parts))
    return attempts


def _nearest(similarities: Sequence[float | None], mean: float | None) -> int:
    """Return the place of the similarity nearest to the mean, the first of equals; 0 where none is known."""
    known = [place for place, similarity in enumerate(similarities) if similarity is not None]
    if mean is None or not known:
        return 0
    return min(known, key=lambda place: abs((similarities[place] or 0.0) - mean))


def _attempts(described: Described, rewards: list[float | None]) -> list[Attempt]:
    rows = zip(described.reconstructions, described.similarities, rewards, strict=True)
    return [
        Attempt(described.original, redrawn, similarity, reward, described.ceiling)
        for redrawn, similarity, reward in rows
    ]


def _share_out(reconstructions: list[Drawing], originals: int) -> list[list[Drawing]]:
    """Split a group's reconstructions (n * k) by original, (n, k)."""
    each = len(reconstructions) // originals
    return [reconstructions[i * each : (i + 1) * each] for i in range(originals)]
