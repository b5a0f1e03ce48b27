"""Rewards of base and adversary: their interfaces, the built-in rewards, and loading those that the settings name.

A custom reward is a class that the settings name as package.module:Class; docs/extending.md shows one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from duel.errors import SettingsError
from duel.plugins import load_plugin
from duel.settings import RewardSettings, is_plugin
from duel.types import Drawing

REFUSED_PROMPT = 0.0  # in practice the minimum of 1 - similarity, so that refused prompts do not pay


@dataclass(frozen=True)
class Described:
    """One original with its descriptions, reconstructions and similarities: the input of a reward."""

    original: Drawing
    descriptions: list[str]  # (k,)
    reconstructions: list[Drawing]  # (k,)
    similarities: list[float | None]  # (k,), of original and reconstruction; None: one of the two was refused
    ceiling: float | None = None  # similarity of the original to a second drawing of its prompt; None: not measured

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
    """The reward functions of a run."""

    base: BaseReward
    adversary: AdversaryReward


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

    def __init__(self, gate: float | None = None, invalid: float = 0.0) -> None:
        self.gate = gate
        self.invalid = invalid

    def __call__(self, group: Sequence[Described]) -> list[float | None]:
        """Return ceiling - mean similarity, (G,); unclipped, because clipping at 0 would reward noise.

        With a gate, a prompt that was refused or whose ceiling is below the gate earns `invalid`. Without, a refused
        prompt earns what the least of its group earns, and no more than 0. None where the ceiling or every similarity
        is missing: the prompt itself was drawn.
        """
        if self.gate is not None:
            return [self._gated(described, self.gate) for described in group]
        regrets = [_difference(described.ceiling, described.mean_similarity) for described in group]
        least = min([REFUSED_PROMPT, *(regret for regret in regrets if regret is not None)])
        return [
            least if described.original.key is None else regret
            for described, regret in zip(group, regrets, strict=True)
        ]

    def _gated(self, described: Described, gate: float) -> float | None:
        unpinnable = described.ceiling is not None and described.ceiling < gate
        if described.original.key is None or unpinnable:
            return self.invalid
        return _difference(described.ceiling, described.mean_similarity)


BASE: dict[str, Callable[[], BaseReward]] = {"similarity": SimilarityReward}
ADVERSARY: dict[str, Callable[[RewardSettings], AdversaryReward]] = {
    "plain": lambda _: PlainReward(),
    "regret": lambda settings: RegretReward(settings.gate, settings.invalid),
}


def load_rewards(settings: RewardSettings) -> Rewards:
    """Return the rewards that the settings name. Raises SettingsError when a plug-in class cannot be loaded."""
    base, adversary = settings.base, settings.adversary
    return Rewards(
        load_plugin("rewards.base", base, BaseReward, settings) if is_plugin(base) else BASE[base](),
        load_plugin("rewards.adversary", adversary, AdversaryReward, settings)
        if is_plugin(adversary)
        else ADVERSARY[adversary](settings),
    )


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
