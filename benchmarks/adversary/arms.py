"""The arms: which adversary writes the prompts, if any, as overrides of two shipped profiles.

Every arm has the same base with the same penalties, so that the rivals of the recipe are as stable as the recipe.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from duel.offline.dataset import TRAIN_IMAGES, write_dataset
from duel.offline.renderer import encode, render
from duel.offline.strata import HARD, sample_stratum
from duel.randomness import stream

RECIPE, ALONE = "offline", "offline-no-adversary"
UNTRAINED = {"adversary.optimizer.learning_rate": 0.0}
FRESH = {"order": ["adversary", "base"]}  # every round of the base describes new drawings
REFERENCE = {"rewards.adversary": "plain", "rewards.gate": None, "adversary.grpo.kl_coef": 0.0}


@dataclass(frozen=True)
class Arm:
    """A profile with overrides by dotted name."""

    profile: str = RECIPE
    overrides: Mapping[str, Any] = field(default_factory=dict)
    hard_charts: bool = False  # train on charts of the hard strata: what the best choice of prompts could reach


ARMS: dict[str, Arm] = {
    "none": Arm(ALONE),
    "untrained-fresh": Arm(overrides=UNTRAINED | FRESH | {"warm_up": 0}),
    "untrained": Arm(overrides=UNTRAINED),  # with the recipe's warm-up and replay
    "plain": Arm(overrides=REFERENCE | FRESH),
    "regret": Arm(overrides=FRESH),  # the recipe without replay
    "duel": Arm(),  # the recipe
    "duel-no-gate": Arm(overrides={"rewards.gate": None}),
    "duel-no-kl": Arm(overrides={"adversary.grpo.kl_coef": 0.0}),
    "duel-no-warm-up": Arm(overrides={"warm_up": 0}),
    "duel-own-draws": Arm(overrides={"shared_draws": False}),  # each player pays for its own drawings
    "upper": Arm(ALONE, hard_charts=True),
}


def has_adversary(name: str) -> bool:
    """Whether drawings of the arm come from an adversary."""
    return ARMS[name].profile == RECIPE


def write_data(name: str, seed: int, folder: Path) -> Path:
    """Write the data set of an arm and a seed, unless it is there, and return its directory.

    The held-out charts are the same for all arms. The upper bound's training images are charts of the hard strata.
    """
    if not ARMS[name].hard_charts:
        return write_dataset(folder / f"data-{seed}", seed)
    directory = write_dataset(folder / f"data-hard-{seed}", seed)
    for index in range(TRAIN_IMAGES):
        rng: random.Random = stream(seed, "upper", index)
        chart = sample_stratum(rng, HARD[index % len(HARD)])
        (directory / "train_images" / f"{index:03}.png").write_bytes(encode(render(chart)))
    return directory
