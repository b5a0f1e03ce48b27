"""Clusters the adversary's prompts by similar wording, for the report.

Prompts are TF-IDF vectors over words and word pairs, normalised to length 1, and clustered hierarchically by Ward's
criterion (1963). Words that every prompt has get weight 0, so that groups differ in what the adversary asks for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array

from artifacts.report.gallery import Case

GROUPS = 8
JOINED = 1200  # distinct prompts that are clustered; the others are assigned to the nearest group
FEATURES = 1000  # most frequent words and pairs
SLICES = 10  # of the run, for the trend
WORD = re.compile(r"[^\W\d]\w*")  # no bare numbers, which are a prompt's data rather than its subject

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PromptGroup:
    """A cluster of prompts with similar wording."""

    count: int
    mean_reward: float
    words: list[str]  # those most over-represented against all prompts
    typical: Case  # the prompt nearest to the group's mean
    hardest: Case  # the prompt with the highest reward
    trend: list[float]  # the group's share of the adversary's prompts in each slice of the run


def group_prompts(cases: Sequence[Case]) -> list[PromptGroup]:
    """Return at most GROUPS groups of the adversary's prompts with a reward, highest mean reward first."""
    asked = [case for case in cases if case.player == "adversary" and case.attempt.reward is not None]
    if not asked:
        return []
    texts = list(dict.fromkeys(case.attempt.prompt for case in asked))
    weights, terms = _weigh(texts)
    group_of = dict(zip(texts, _join(weights), strict=True))
    row_of = {text: row for row, text in enumerate(texts)}
    slices = _slices(asked)
    groups = []
    for number in sorted(set(group_of.values())):
        members = [case for case in asked if group_of[case.attempt.prompt] == number]
        rows = weights[[row_of[case.attempt.prompt] for case in members]]
        groups.append(_describe(members, rows, weights.mean(axis=0), terms, slices))
    return sorted(groups, key=lambda group: -group.mean_reward)


def _describe(
    members: list[Case], rows: Array, everywhere: Array, terms: list[str], slices: dict[int, tuple[int, int]]
) -> PromptGroup:
    """Return a group; `rows` are its members' vectors, `slices` maps a round to its slice and the slice's prompts."""
    mean = rows.mean(axis=0)
    rewards = [case.attempt.reward for case in members if case.attempt.reward is not None]  # all have one
    counts = Counter(slices[case.round][0] for case in members)
    sizes = dict(slices.values())
    distinctive = mean - everywhere
    best = [terms[place] for place in np.argsort(-distinctive, kind="stable") if distinctive[place] > 0]
    return PromptGroup(
        count=len(members),
        mean_reward=sum(rewards) / len(rewards),
        words=[term for term in best if " " not in term][:4],
        typical=members[int(np.argmax(rows @ mean))],
        hardest=members[int(np.argmax(rewards))],
        trend=[counts[number] / size for number, size in sorted(sizes.items())],
    )


def _weigh(texts: Sequence[str]) -> tuple[Array, list[str]]:
    """Return the TF-IDF vectors of the texts, (n, terms), each of norm 1 or 0, and the terms."""
    bags = [_terms(text) for text in texts]
    found = Counter(term for bag in bags for term in bag)
    terms = [term for term, count in found.most_common() if count > 1 or len(texts) < 20][:FEATURES]
    place = {term: number for number, term in enumerate(terms)}
    entries = [
        (row, place[term], count) for row, bag in enumerate(bags) for term, count in bag.items() if term in place
    ]
    rows, columns, counts = zip(*entries, strict=True) if entries else ((), (), ())
    sparse = csr_array((np.asarray(counts, dtype=float), (rows, columns)), shape=(len(texts), len(terms)))
    rarity = np.log(len(texts) / np.asarray([found[term] for term in terms], dtype=float))
    weights = np.asarray(sparse.toarray() * rarity)
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    return np.divide(weights, lengths, out=np.zeros_like(weights), where=lengths > 0), terms


def _terms(text: str) -> Counter[str]:
    words = WORD.findall(text.lower())
    return Counter(words + [f"{first} {second}" for first, second in pairwise(words)])


def _join(weights: Array) -> list[int]:
    """Return the number of each row's group."""
    if len(weights) == 1:
        return [1]
    joined = np.unique(np.linspace(0, len(weights) - 1, min(len(weights), JOINED)).round().astype(int))
    groups = fcluster(linkage(weights[joined], "ward"), GROUPS, "maxclust")
    if len(joined) == len(weights):
        return [int(group) for group in groups]
    numbers = np.unique(groups)
    means = np.stack([weights[joined][groups == number].mean(axis=0) for number in numbers])  # (groups, terms)
    distances = (means**2).sum(axis=1) - 2 * weights @ means.T  # squared, without the row's own norm
    nearest = numbers[np.argmin(distances, axis=1)]
    nearest[joined] = groups
    return [int(group) for group in nearest]


def _slices(cases: Sequence[Case]) -> dict[int, tuple[int, int]]:
    """Return for each round the number of its slice of the run and the number of prompts in that slice."""
    rounds = sorted({case.round for case in cases})
    number = {index: place * min(SLICES, len(rounds)) // len(rounds) for place, index in enumerate(rounds)}
    sizes = Counter(number[case.round] for case in cases)
    return {index: (number[index], sizes[number[index]]) for index in rounds}
