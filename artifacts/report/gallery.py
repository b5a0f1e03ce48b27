"""The recorded rounds of a run, and which of their cases a report shows first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.run.directory import RunDirectory
from artifacts.run.rounds import read_round

FIRST, LAST = 2, 6  # rounds shown where not all can be
CASES = 8


@dataclass(frozen=True)
class Case:
    """One attempt with its place; `attempt` is as in record.json, its files lie in `directory`."""

    round: int
    player: str
    group: int
    place: int  # in its group, as in record.json
    attempt: dict[str, Any]
    directory: Path

    def file(self, which: str) -> Path | None:
        """Return where the `drawing` or `reconstruction` lies; None when it was refused."""
        name = self.attempt[which]["file"]
        return self.directory / name if name else None


@dataclass(frozen=True)
class ShownRound:
    """One round; each group's cases with the most similar first."""

    round: int
    player: str
    groups: list[list[Case]]


@dataclass(frozen=True)
class Gallery:
    """All rounds that were recorded, and what stands out of them."""

    rounds: list[ShownRound]
    best: list[Case]  # most similar of all rounds
    worst: list[Case]  # least similar

    @property
    def ends(self) -> list[ShownRound]:
        """The first and the last rounds."""
        return self.rounds if len(self.rounds) <= FIRST + LAST else [*self.rounds[:FIRST], *self.rounds[-LAST:]]

    def cases(self) -> Iterator[Case]:
        """Yield every attempt, round by round."""
        return (case for shown in self.rounds for group in shown.groups for case in group)


def read_gallery(run: RunDirectory) -> Gallery:
    """Read every recorded round; raises RunError when one is damaged."""
    rounds = [_read(run, index) for index in run.rounds_recorded()]
    scored = [
        case for shown in rounds for group in shown.groups for case in group if case.attempt["similarity"] is not None
    ]
    return Gallery(rounds, _extremes(scored, -1), _extremes(scored, 1))


def _extremes(cases: Sequence[Case], sign: int) -> list[Case]:
    """Return the CASES with the smallest sign * similarity, one for each drawing, by the drawing's store key."""
    chosen: dict[str, Case] = {}
    for case in cases:
        key = case.attempt["drawing"]["key"]
        if key not in chosen or sign * case.attempt["similarity"] < sign * chosen[key].attempt["similarity"]:
            chosen[key] = case
    return heapq.nsmallest(CASES, chosen.values(), key=lambda case: sign * float(case.attempt["similarity"]))


def _read(run: RunDirectory, index: int) -> ShownRound:
    record = read_round(run, index)
    directory, player = run.round_directory(index), record["player"]
    groups = [
        sorted(
            (Case(index, player, number, place, attempt, directory) for place, attempt in enumerate(group["attempts"])),
            key=_similar_first,
        )
        for number, group in enumerate(record["groups"])
    ]
    return ShownRound(index, player, groups)


def _similar_first(case: Case) -> float:
    similarity = case.attempt["similarity"]
    return float("inf") if similarity is None else -float(similarity)
