"""Rewards of base and adversary: their interfaces, the built-in rewards, and loading those that the settings name.

A custom reward is a class that the settings name as package.module:Class; docs/extending.md shows one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from duel.errors import SettingsError
from duel.plugins import load_plugin
from duel.settings import RewardSettings, is_plugin
from duel.types import Drawing, InvalidReason, PromptParts

REFUSED_PROMPT = 0.0  # in practice the minimum of 1 - similarity, so that refused prompts do not pay


@dataclass(frozen=True)
class Described:
    """One original with its descriptions, reconstructions and similarities: the input of a reward."""

    original: Drawing
    descriptions: list[str]  # (k,)
    reconstructions: list[Drawing]  # (k,)
    similarities: list[float | None]  # (k,), of original and reconstruction; None: one of the two was refused
    ceiling: float | None = None  # similarity of the original to a second drawing of its prompt; None: not measured
    self_similarity: float | None = None  # to the most similar other drawing of the group or of recent rounds
    nearness: float | None = None  # of the original to the nearest training image; None: not measured
    off_topic: bool = False
    cluster: int | None = None  # of drawings of the group that are near-duplicates; None: refused

    @property
    def mean_similarity(self) -> float | None:
        """The mean of the similarities that are not None; None if there are none."""
        known = [similarity for similarity in self.similarities if similarity is not None]
        return sum(known) / len(known) if known else None


class BaseReward(Protocol):
    """Rewards of the base for its descriptions of one original (protocol)."""

    def __call__(self, described: Described) -> list[float | None]:
        """Return one reward per description, (k,); None excludes the description from its group."""


class AdversaryReward(Protocol):
    """Rewards of the adversary for the prompts of one group (protocol)."""

    @property
    def needs_ceiling(self) -> bool:
        """Whether it reads `Described.ceiling`, for which each prompt is drawn a second time."""

    def __call__(self, group: Sequence[Described]) -> list[float | None]:
        """Return one reward per original, (G,); None excludes the prompt from its group."""


@dataclass(frozen=True)
class Rewards:
    """The rewards of a run: a function for each player, and what the settings add to that of the adversary."""

    base: BaseReward
    adversary: AdversaryReward
    settings: RewardSettings = field(default_factory=RewardSettings)

    @property
    def gated(self) -> bool:
        """Whether invalid prompts earn `invalid`: there is a gate of either kind."""
        return self.settings.gate is not None or self.settings.off_topic is not None

    @property
    def needs_ceiling(self) -> bool:
        """Whether each prompt is drawn a second time: for the adversary's reward, or for the gate."""
        return self.settings.gate is not None or self.adversary.needs_ceiling

    def of_descriptions(self, described: Described) -> list[float | None]:
        """Return the base's reward for each description of an original, (k,)."""
        return check_rewards(self.base(described), len(described.descriptions), "rewards.base")

    def of_prompts(self, group: Sequence[Described]) -> list[tuple[float | None, PromptParts]]:
        """Return the adversary's reward for each prompt of a group, (G,), with what rewards are made of.

        With a gate, invalid prompts earn `invalid`, whatever the adversary's reward gives them. Valid near-duplicates
        earn `diversity` less.
        """
        earned = check_rewards(self.adversary(group), len(group), "rewards.adversary")
        return [self._of_prompt(described, reward) for described, reward in zip(group, earned, strict=True)]

    def _of_prompt(self, described: Described, reward: float | None) -> tuple[float | None, PromptParts]:
        fault, alike = self._fault(described), described.self_similarity
        duplicate = reward is not None and fault is None and alike is not None and alike >= self.settings.duplicate
        penalty = self.settings.diversity if duplicate else 0.0
        parts = PromptParts(
            learnability(self.base, described), fault, alike, penalty, described.nearness, described.cluster
        )
        if self.gated and fault is not None:
            return self.settings.invalid, parts
        return None if reward is None else reward - penalty, parts

    def _fault(self, described: Described) -> InvalidReason | None:
        gate, ceiling = self.settings.gate, described.ceiling
        if described.original.key is None:
            return "refused"
        if gate is not None and ceiling is not None and ceiling < gate:
            return "ceiling"
        return "off_topic" if described.off_topic else None


class SimilarityReward:
    """The base's reward is the similarity."""

    def __call__(self, described: Described) -> list[float | None]:
        """Return the similarities, (k,)."""
        return described.similarities


class PlainReward:
    """The adversary's reward is 1 - similarity, as in the reference experiment."""

    needs_ceiling = False

    def __call__(self, group: Sequence[Described]) -> list[float | None]:
        """Return 1 - mean similarity, (G,): REFUSED_PROMPT for a refused prompt, None for one without similarities."""
        return [
            REFUSED_PROMPT if described.original.key is None else _difference(1.0, described.mean_similarity)
            for described in group
        ]


class RegretReward:
    """The adversary's reward is ceiling - similarity.

    Content that no text determines lowers both, so that asking for it does not pay.
    """

    needs_ceiling = True

    def __call__(self, group: Sequence[Described]) -> list[float | None]:
        """Return ceiling - mean similarity, (G,); unclipped, because clipping at 0 would reward noise.

        A refused prompt earns what the least of its group earns, and no more than 0. None where the ceiling or every
        similarity is missing: the prompt itself was drawn.
        """
        regrets = [_difference(described.ceiling, described.mean_similarity) for described in group]
        least = min([REFUSED_PROMPT, *(regret for regret in regrets if regret is not None)])
        return [
            least if described.original.key is None else regret
            for described, regret in zip(group, regrets, strict=True)
        ]


class LearnabilityReward:
    """The adversary's reward is the spread of the base's rewards for the descriptions of a drawing.

    What the base always or never describes well has no spread (Rutherford et al. 2024, arXiv 2408.15099).
    """

    needs_ceiling = False

    def __init__(self, base: BaseReward) -> None:
        self.base = base

    def __call__(self, group: Sequence[Described]) -> list[float | None]:
        """Return the spreads, (G,): REFUSED_PROMPT for a refused prompt, None with fewer than two rewards."""
        return [
            REFUSED_PROMPT if described.original.key is None else learnability(self.base, described)
            for described in group
        ]


def learnability(base: BaseReward, described: Described) -> float | None:
    """Return the standard deviation (divisor k) of the base's rewards for the descriptions of a drawing.

    For rewards of 0 and 1, its square is p (1 - p). None with fewer than two rewards, or where the prompt was refused.
    """
    if described.original.key is None or len(described.descriptions) < 2:
        return None
    rewards = check_rewards(base(described), len(described.descriptions), "rewards.base")
    known = [reward for reward in rewards if reward is not None]
    return statistics.pstdev(known) if len(known) > 1 else None


BASE: dict[str, Callable[[], BaseReward]] = {"similarity": SimilarityReward}
ADVERSARY: dict[str, Callable[[BaseReward], AdversaryReward]] = {
    "plain": lambda _: PlainReward(),
    "regret": lambda _: RegretReward(),
    "learnability": LearnabilityReward,
}


def load_rewards(settings: RewardSettings) -> Rewards:
    """Return the rewards that the settings name. Raises SettingsError when a plug-in class cannot be loaded."""
    names = settings.base, settings.adversary
    base: BaseReward = (
        load_plugin("rewards.base", names[0], BaseReward, settings) if is_plugin(names[0]) else BASE[names[0]]()
    )
    adversary: AdversaryReward = (
        load_plugin("rewards.adversary", names[1], AdversaryReward, settings)
        if is_plugin(names[1])
        else ADVERSARY[names[1]](base)
    )
    return Rewards(base, adversary, settings)


def check_rewards(rewards: Sequence[float | None], count: int, setting: str) -> list[float | None]:
    """Return the rewards as floats. Raises SettingsError unless they are `count` finite numbers or None."""
    if len(rewards) != count:
        raise SettingsError(f"{setting}: got {len(rewards)} rewards, expected {count}, one for each that it was given")
    for reward in rewards:
        if reward is not None and not math.isfinite(reward):
            raise SettingsError(
                f"{setting}: got the reward {reward}, expected a finite number, or None to leave it out"
            )
    return [None if reward is None else float(reward) for reward in rewards]


def _difference(minuend: float | None, subtrahend: float | None) -> float | None:
    return None if minuend is None or subtrahend is None else minuend - subtrahend
