"""Rewards of the adversary's prompts, and advantages of both players."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.farm.arms import Arm
from duel.grpo import advantages


def adversary_rewards(arm: Arm, similarities: Sequence[float], ceilings: Sequence[float]) -> list[float]:
    """Return one reward per prompt of a group.

    plain: 1 - mean similarity. Else regret: ceiling - mean similarity, not clipped at 0; a prompt whose ceiling is
    below the gate is invalid and earns `arm.invalid`.

    Args:
        arm: The recipe.
        similarities: Of each drawing to its reconstructions, mean.
        ceilings: Of each drawing to a second drawing of its prompt.
    """
    if arm.reward == "plain":
        return [1 - similarity for similarity in similarities]
    return [
        ceiling - similarity if ceiling >= arm.gate else arm.invalid
        for similarity, ceiling in zip(similarities, ceilings, strict=True)
    ]


def advantages_or_zeros(rewards: Sequence[float]) -> list[float]:
    """Return standardised advantages; zeros for a group without signal, which still pays the KL penalty."""
    found = advantages(rewards, "standardised")
    return [0.0 if value is None else value for value in found] if found else [0.0] * len(rewards)
