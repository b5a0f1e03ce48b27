"""Which rounds and which cases a report shows."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.records import read_round
from artifacts.run import RunDirectory

FIRST, LAST = 2, 6  # rounds shown whole
CASES = 6


@dataclass(frozen=True)
class Case:
    """One attempt with its place; `attempt` is as in record.json, its files lie in `directory`."""

    round: int
    player: str
    attempt: dict[str, Any]
    directory: Path


@dataclass(frozen=True)
class ShownRound:
    """One round; each group's cases with the most similar first."""

    round: int
    player: str
    groups: list[list[Case]]


@dataclass(frozen=True)
class Gallery:
    """What a report shows of the rounds."""

    rounds: list[ShownRound]
    best: list[Case]  # most similar of all rounds
    worst: list[Case]  # least similar


def choose(run: RunDirectory) -> Gallery:
    """Return the first and last rounds, and the best and worst attempts of all rounds that were recorded."""
    recorded = run.rounds_recorded()
    shown = sorted({*recorded[:FIRST], *recorded[-LAST:]})
    best: dict[str, Case] = {}
    worst: dict[str, Case] = {}
    for index in recorded:
        found = [
            case for group in _shown(run, index).groups for case in group if case.attempt["similarity"] is not None
        ]
        best = _extremes([*best.values(), *found], -1)
        worst = _extremes([*worst.values(), *found], 1)
    return Gallery([_shown(run, index) for index in shown], list(best.values()), list(worst.values()))


def _extremes(cases: Iterable[Case], sign: int) -> dict[str, Case]:
    """Return the CASES with the smallest sign * similarity, one for each drawing, by the drawing's store key."""
    ordered = sorted(cases, key=lambda case: sign * case.attempt["similarity"])
    one_each: dict[str, Case] = {}
    for case in ordered:
        one_each.setdefault(case.attempt["drawing"]["key"], case)
    return dict(heapq.nsmallest(CASES, one_each.items(), key=lambda item: sign * item[1].attempt["similarity"]))


def _shown(run: RunDirectory, index: int) -> ShownRound:
    record = read_round(run, index)
    directory, player = run.round_directory(index), record["player"]
    groups = [
        sorted((Case(index, player, attempt, directory) for attempt in group["attempts"]), key=_similar_first)
        for group in record["groups"]
    ]
    return ShownRound(index, player, groups)


def _similar_first(case: Case) -> float:
    similarity = case.attempt["similarity"]
    return float("inf") if similarity is None else -float(similarity)
