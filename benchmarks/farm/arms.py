"""The arms of the experiment: what each run trains on, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Arm:
    """A recipe. The defaults are what all arms of the main comparison share: every rival has the same stable base."""

    source: Literal["data", "hard", "adversary"] = "data"  # of images: the data set, hard charts, prompts
    train_images: int = 75  # in the data set
    images: int = 4  # described in a round on the data set
    k: int = 8  # descriptions of an image
    # the base
    kl: float = 0.05  # coefficient of the divergence from the untrained base
    normalisation: Literal["constant", "completion"] = "constant"  # of the loss by length
    anchor: float = 0.05  # coefficient of the divergence from the untrained base on its answers about training images
    anchor_reasoned: bool = True  # every second round's answers follow a description; only their last tokens count
    rate: float = 1e-3  # learning rate
    # the adversary
    warm: int = 0  # rounds on the data set before the adversary begins
    fresh: int = 8  # prompts of a round, one group, each drawn once
    every: int = 1  # a round with fresh drawings comes every so many; the others replay
    replay: int = 0  # hard drawings described again in such a round
    data: int = 2  # images of the data set beside them
    together: bool = True  # both players learn from fresh drawings; else they take turns
    reward: Literal["none", "plain", "regret"] = "none"  # none: the adversary stays untrained
    gate: float = 0.9  # with regret, a prompt with a lower ceiling is invalid
    invalid: float = -0.2  # what it earns
    adversary_kl: float = 0.1
    adversary_rate: float = 1e-3
    temperature: float = 0.9  # of its prompts


NONE = Arm()
FROZEN = Arm(source="adversary")
WARM = replace(FROZEN, warm=60)
PLR = replace(WARM, replay=6, every=2)
DUEL = replace(PLR, reward="regret")
PLAIN = replace(WARM, reward="plain", adversary_kl=0.0)

ARMS: dict[str, Arm] = {
    # no adversary, and the upper bound: charts of the hard strata
    "none": NONE,
    "upper": replace(NONE, source="hard"),
    # an untrained adversary: its drawings, after a warm-up, with replay of the hard ones
    "frozen": FROZEN,
    "frozen_warm": WARM,
    "frozen_plr": PLR,
    # a trained one
    "plain": PLAIN,
    "regret": replace(WARM, reward="regret"),  # the duel without replay
    "duel": DUEL,
    "duel_nogate": replace(DUEL, gate=-1.0),
    "duel_t12": replace(DUEL, temperature=1.2),
    "duel_cold": replace(DUEL, warm=0),
    "duel_alt": replace(DUEL, together=False),
    "duel_kl00": replace(DUEL, adversary_kl=0.0),
    "duel_kl03": replace(DUEL, adversary_kl=0.03),
    "duel_kl3": replace(DUEL, adversary_kl=0.3),
    "duel_kl10": replace(DUEL, adversary_kl=1.0),
    # few images
    "none16": replace(NONE, train_images=16),
    "none4": replace(NONE, train_images=4),
    "frozen16": replace(PLR, train_images=16),
    "frozen4": replace(PLR, train_images=4),
    "duel16": replace(DUEL, train_images=16),
    "duel4": replace(DUEL, train_images=4),
    # what keeps the base stable
    "none_raw": replace(NONE, kl=0.0, anchor=0.0, normalisation="completion"),
    "none_const": replace(NONE, kl=0.0, anchor=0.0),
    "none_kl2": replace(NONE, kl=0.2, anchor=0.0),
    "duel_kl2": replace(DUEL, kl=0.2, anchor=0.0),
    "none_short": replace(NONE, anchor_reasoned=False),
    "duel_short": replace(DUEL, anchor_reasoned=False),
    "none_a02": replace(NONE, anchor=0.02),
    "frozen_plr_a02": replace(PLR, anchor=0.02),
    "duel_a02": replace(DUEL, anchor=0.02),
    "duel_a02_t12": replace(DUEL, anchor=0.02, temperature=1.2),
    "duel_kl3_t12": replace(DUEL, adversary_kl=0.3, temperature=1.2),
    "duel_t15": replace(DUEL, temperature=1.5),
}


def arms_named(words: list[str]) -> list[tuple[str, Arm, int]]:
    """Return (name, arm, seed) of each run named as `name:seed` or `name:first-last`.

    Raises ValueError for a name that no arm has.
    """
    runs = []
    for word in words:
        name, _, seeds = word.partition(":")
        if name not in ARMS:
            raise ValueError(f"got the arm {name!r}, expected one of {', '.join(ARMS)}")
        first, _, last = (seeds or "0").partition("-")
        runs += [(name, ARMS[name], seed) for seed in range(int(first), int(last or first) + 1)]
    return runs
