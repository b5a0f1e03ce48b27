"""Replay of hard drawings: which drawings of earlier rounds the base describes again.

Prioritised level replay (Jiang et al. 2020, arXiv 2010.03934) with regret as the score: what the base's descriptions
lack of what a second drawing of the prompt reaches. Only drawings that some text can bring back are kept: those whose
ceiling reaches the gate (as in robust PLR, Jiang et al. 2021, arXiv 2110.02439, which curates before it trains).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random

from duel.types import Attempt, Drawing, Player


@dataclass(frozen=True)
class Kept:
    """A drawing that may be described again."""

    drawing: Drawing
    ceiling: float  # similarity of the drawing to a second drawing of its prompt
    similarity: float  # mean over the descriptions of the last round that described it
    round: int  # that round

    @property
    def regret(self) -> float:
        """What the descriptions lack."""
        return self.ceiling - self.similarity


def _regret(kept: Kept) -> float:
    return kept.regret


def _last_described(kept: Kept) -> int:
    return kept.round


class ReplayPool:
    """The drawings of highest regret so far, at most `capacity`; a function of the rounds noted, in their order."""

    def __init__(self, capacity: int, gate: float | None) -> None:
        self.capacity = capacity
        self.gate = gate
        self._kept: dict[str, Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def note(self, round: int, player: Player, groups: Iterable[Iterable[Attempt]]) -> None:
        """Take up what a round found: new drawings of an adversary's round, new similarities of those kept already."""
        for group in groups:
            if player == "adversary":
                for attempt in group:
                    self._add(round, attempt)
            else:
                self._describe(round, list(group))
        worst = sorted(self._kept.values(), key=lambda kept: kept.regret)[: max(0, len(self._kept) - self.capacity)]
        for kept in worst:
            del self._kept[str(kept.drawing.key)]

    def choose(self, chance: Random, count: int, stale: float, round: int) -> list[Drawing]:
        """Return up to `count` different drawings for the round, each with its age.

        Each is chosen with probability proportional to 1 / rank: by regret or, with probability `stale`, by the time
        since it was last described.
        """
        left = list(self._kept.values())
        chosen: list[Drawing] = []
        while left and len(chosen) < count:
            by_age = chance.random() < stale
            left.sort(key=_last_described if by_age else _regret, reverse=not by_age)
            [kept] = chance.choices(left, [1 / rank for rank in range(1, len(left) + 1)])
            left.remove(kept)
            chosen.append(replace(kept.drawing, replay_age=round - kept.round))
        return chosen

    def _add(self, round: int, attempt: Attempt) -> None:
        key, ceiling, similarity = attempt.original.key, attempt.ceiling, attempt.similarity
        if key is None or ceiling is None or similarity is None or (self.gate is not None and ceiling < self.gate):
            return
        if attempt.parts is not None and attempt.parts.invalid is not None:
            return
        self._kept[key] = Kept(attempt.original, ceiling, similarity, round)

    def _describe(self, round: int, group: list[Attempt]) -> None:
        kept = self._kept.get(str(group[0].original.key)) if group else None
        known = [attempt.similarity for attempt in group if attempt.similarity is not None]
        if kept is not None and known:
            mean = sum(known) / len(known)
            self._kept[str(kept.drawing.key)] = Kept(kept.drawing, kept.ceiling, mean, round)
