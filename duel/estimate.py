"""How many images a run asks for at most, from its settings alone.

An upper bound: equal texts about an image are one draw, and what a store holds is not drawn again. As descriptions of
an image become alike, a run asks for ever fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

from duel.settings import Settings
from duel.types import Turn


@dataclass(frozen=True)
class MostDraws:
    """The most images that a run asks for."""

    by_round: list[int]
    evaluations: int  # proxy evaluations, the first before training
    in_evaluations: int  # images of all of them; strata of a data set are not counted

    @property
    def in_training(self) -> int:
        """Images of all rounds."""
        return sum(self.by_round)


def most_draws(settings: Settings, needs_ceiling: bool) -> MostDraws:
    """Return the upper bound of a run's draws; `needs_ceiling`: its adversary's prompts are drawn a second time."""
    schedule = settings.schedule
    turns = [schedule.turn(round) for round in range(settings.rounds)]
    before: list[Turn | None] = [None, *turns[:-1]]
    rounds = [draws_of_turn(settings, *pair, needs_ceiling) for pair in zip(turns, before, strict=True)]
    how = settings.evaluation
    evaluations = 1 + settings.rounds // how.every + bool(settings.rounds % how.every)
    each = settings.data.test_images * how.proxy_completions if "base" in schedule.players else 0
    if "adversary" in schedule.players:
        per_prompt = settings.sampling.descriptions if settings.rewards.adversary == "learnability" else 1
        each += how.adversary_prompts * (1 + needs_ceiling + per_prompt)
    return MostDraws(rounds, evaluations, evaluations * each)


def draws_of_turn(settings: Settings, turn: Turn, before: Turn | None, needs_ceiling: bool) -> int:
    """Return the most images that a round asks for; `before` is the turn of the round before it."""
    group_size = settings.sampling.group_size  # prompts of a group, or descriptions of an image
    if turn == "adversary":
        groups = settings.images_per_round if settings.prompt_groups is None else settings.prompt_groups
        return groups * group_size * (1 + needs_ceiling + settings.sampling.descriptions)
    if turn == "replay":
        return (settings.replay.drawings + settings.replay.images) * group_size
    if turn == "warm_up" or settings.originals == "dataset":
        return settings.images_per_round * group_size
    if settings.shared_draws and before == "adversary" and not settings.adversary.past.share:
        return 0
    return settings.images_per_round * (1 + group_size)
