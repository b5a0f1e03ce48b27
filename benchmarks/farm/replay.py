"""Replay of hard drawings: Prioritized Level Replay (Jiang et al. 2020, arXiv 2010.03934), for drawings."""

from __future__ import annotations

import random
from dataclasses import dataclass

CAPACITY = 128
STALE_SHARE = 0.2  # of the choices go by age in place of the score


@dataclass(frozen=True)
class Replayed:
    """A drawing that the base found hard."""

    score: float  # ceiling - mean similarity, when last described
    ceiling: float
    seen: int  # the round in which that was


class ReplayPool:
    """Drawings of one run by digest, with score and age."""

    def __init__(self) -> None:
        self.drawings: dict[int, Replayed] = {}

    def note(self, image: int, mean_similarity: float, ceiling: float | None, gate: float, index: int) -> None:
        """Note how well an image was described in round `index`.

        A known drawing's score is updated; a new one enters if its ceiling was measured and is at least the gate. The
        one with the lowest score leaves a full pool.
        """
        if image in self.drawings:
            ceiling = self.drawings[image].ceiling
        elif ceiling is None or ceiling < gate:
            return
        assert ceiling is not None
        self.drawings[image] = Replayed(ceiling - mean_similarity, ceiling, index)
        if len(self.drawings) > CAPACITY:
            del self.drawings[min(self.drawings, key=lambda digest: self.drawings[digest].score)]

    def choose(self, count: int, rng: random.Random) -> list[int]:
        """Return at most `count` different drawings: each with probability proportional to 1 / rank.

        Ranked by score, the highest first; in one choice of five by the round they were last seen in, the oldest first.
        """
        left, chosen = dict(self.drawings), []
        while left and len(chosen) < count:
            if rng.random() < STALE_SHARE:
                ranked = sorted(left, key=lambda digest: left[digest].seen)
            else:
                ranked = sorted(left, key=lambda digest: -left[digest].score)
            image = rng.choices(ranked, [1 / (place + 1) for place in range(len(ranked))])[0]
            chosen.append(image)
            del left[image]
        return chosen

    def mean_age(self, index: int) -> float:
        """Return the mean number of rounds since the drawings were last described; 0 for an empty pool."""
        return sum(index - drawing.seen for drawing in self.drawings.values()) / max(1, len(self.drawings))
