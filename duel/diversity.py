"""Near-duplicates among the adversary's drawings: of others in the group, and of drawings of recent rounds.

An adversary left alone asks for one thing at a time. What two prompts have in common is measured on their drawings,
because the same content can be asked for in many words.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from duel.types import Attempt, Drawing, Player

Similarity = Callable[[Drawing, Drawing], float | None]  # None: one of the two was refused


class RecentDrawings:
    """The drawings of the adversary's last `rounds` rounds; a function of the rounds noted, in their order."""

    def __init__(self, rounds: int) -> None:
        self._rounds: deque[list[Drawing]] = deque(maxlen=rounds)

    def note(self, player: Player, groups: Iterable[Iterable[Attempt]]) -> None:
        """Take up the drawings of a round, if it is the adversary's."""
        if player == "adversary":
            originals = [attempt.original for group in groups for attempt in group]
            self._rounds.append([original for original in originals if original.key is not None])

    @property
    def drawings(self) -> list[Drawing]:
        """The drawings, oldest first, each image once."""
        return list({drawing.key: drawing for drawings in self._rounds for drawing in drawings}.values())


def clusters(group: Sequence[Drawing], similarity: Similarity, duplicate: float) -> list[int | None]:
    """Return the cluster of each drawing, (G,), numbered from 0; None for a refused drawing.

    A drawing is in the cluster of the first one before it that opened a cluster and is at least `duplicate` similar to
    it; else it opens one.
    """
    leaders: list[Drawing] = []
    found: list[int | None] = []
    for drawing in group:
        if drawing.key is None:
            found.append(None)
            continue
        alike = [(similarity(leader, drawing) or 0.0) >= duplicate for leader in leaders]
        if not any(alike):
            leaders.append(drawing)
        found.append(alike.index(True) if any(alike) else len(leaders) - 1)
    return found


def self_similarities(
    group: Sequence[Drawing], recent: Sequence[Drawing], similarity: Similarity
) -> list[float | None]:
    """Return each drawing's similarity to the most similar other one of its group or of `recent`, (G,).

    None for a refused drawing, and where there is no other. Two prompts with one image have similarity 1.
    """
    greatest = []
    for place, drawing in enumerate(group):
        others = [*group[:place], *group[place + 1 :], *recent]
        known = [found for other in others if (found := similarity(drawing, other)) is not None]
        greatest.append(max(known, default=None))
    return greatest
