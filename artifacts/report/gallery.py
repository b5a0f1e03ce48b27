"""Reads the recorded rounds of a run for a report, and selects the most and least similar cases."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from artifacts.run.directory import RunDirectory
from artifacts.run.round_record import Image, RecordedAttempt
from artifacts.run.rounds import read_round
from duel.types import Player

FIRST, LAST = 2, 6  # rounds shown in the PDF and without JavaScript
CASES = 8  # most and least similar ones shown


@dataclass(frozen=True)
class Case:
    """One attempt with its position in the run; its image files are in `directory`."""

    round: int
    player: Player
    group: int
    place: int  # index in its group in record.json
    attempt: RecordedAttempt
    directory: Path

    def file(self, which: Image) -> Path | None:
        """Return the file of the drawing or the reconstruction; None if it was refused."""
        name = self.attempt.image(which).file
        return self.directory / name if name else None


@dataclass(frozen=True)
class ShownRound:
    """One round; the cases of each group are sorted by similarity, highest first."""

    round: int
    player: Player
    groups: list[list[Case]]


@dataclass(frozen=True)
class Gallery:
    """All recorded rounds, and the cases with the highest and the lowest similarity."""

    rounds: list[ShownRound]
    best: list[Case]  # highest similarity first, over all rounds
    worst: list[Case]  # lowest similarity first

    @property
    def ends(self) -> list[ShownRound]:
        """The first and the last rounds."""
        return self.rounds if len(self.rounds) <= FIRST + LAST else [*self.rounds[:FIRST], *self.rounds[-LAST:]]

    def cases(self) -> Iterator[Case]:
        """Iterate over all attempts, round by round."""
        return (case for shown in self.rounds for group in shown.groups for case in group)


def read_gallery(run: RunDirectory) -> Gallery:
    """Read all recorded rounds. Raises RunError when one is damaged."""
    rounds = [_read(run, index) for index in run.rounds_recorded()]
    scored = [
        (case.attempt.similarity, case)
        for shown in rounds
        for group in shown.groups
        for case in group
        if case.attempt.similarity is not None
    ]
    best = _lowest([(-similarity, case) for similarity, case in scored])
    return Gallery(rounds, best, _lowest(scored))


def _lowest(cases: Sequence[tuple[float, Case]]) -> list[Case]:
    """Return the cases with the CASES lowest numbers, lowest first, at most one per drawing (by store key)."""
    chosen: dict[str | None, tuple[float, Case]] = {}
    for number, case in cases:
        key = case.attempt.drawing.key
        if key not in chosen or number < chosen[key][0]:
            chosen[key] = (number, case)
    return [case for _, case in heapq.nsmallest(CASES, chosen.values(), key=lambda found: found[0])]


def _read(run: RunDirectory, index: int) -> ShownRound:
    record = read_round(run, index)
    directory, player = run.round_directory(index), record.player
    groups = [
        sorted(
            (Case(index, player, number, place, attempt, directory) for place, attempt in enumerate(group.attempts)),
            key=_similar_first,
        )
        for number, group in enumerate(record.groups)
    ]
    return ShownRound(index, player, groups)


def _similar_first(case: Case) -> float:
    similarity = case.attempt.similarity
    return float("inf") if similarity is None else -similarity
