"""One run: what it trains on, what it has paid, and what it measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from benchmarks.farm.arms import Arm
from benchmarks.farm.charts import Request
from benchmarks.farm.replay import ReplayPool
from duel.offline.charts import Chart
from duel.offline.dataset import sample_dataset
from duel.offline.strata import HARD, sample_stratum
from duel.randomness import DRAW_SEEDS, derive_seed, stream, torch_stream

UPPER_CHARTS = 400  # hard charts that the upper bound trains on
Key = TypeVar("Key", bound=Hashable)


@dataclass
class Described:
    """One image of a base round and what was made of it."""

    image: int  # digest
    prompt: str = ""  # of a fresh drawing
    texts: list[str] = field(default_factory=list)
    similarities: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return sum(self.similarities) / len(self.similarities)


@lru_cache(maxsize=16)
def data_set(seed: int) -> tuple[Chart, ...]:
    """Return the training images of a seed."""
    return tuple(sample_dataset(seed).train)


def training_charts(arm: Arm, seed: int) -> list[Chart]:
    """Return what a run trains on: hard charts of each sort in turn, or the first of its data set's images."""
    if arm.source == "hard":
        return [sample_stratum(stream(seed, "upper", i), HARD[i % len(HARD)]) for i in range(UPPER_CHARTS)]
    return list(data_set(seed)[: arm.train_images])


class Run:
    """One arm with one seed."""

    def __init__(self, name: str, arm: Arm, seed: int, number: int, data: list[int]) -> None:
        """Start a run.

        Args:
            name: Of the arm.
            arm: Its recipe.
            seed: Of all its random streams; arms of one seed share them.
            number: Its index among the runs of this process, and in the stacked adapters.
            data: Digests of the images it trains on.
        """
        self.name, self.arm, self.seed, self.number, self.data = name, arm, seed, number, data
        self.pool = ReplayPool()
        self.paid: set[Request] = set()
        self.spent: Counter[str] = Counter()  # draws by purpose
        self.used = 0  # images of the data set so far
        self.rounds: list[dict[str, Any]] = []  # one row of metrics per round
        self.evaluations: list[dict[str, Any]] = []

    def draws_fresh(self, index: int) -> bool:
        """Whether the adversary's prompts are drawn in this round."""
        since = index - self.arm.warm
        return self.arm.source == "adversary" and since >= 0 and since % self.arm.every == 0

    def learns(self, player: str, index: int) -> bool:
        """Whether a player learns in this round. An arm that takes turns begins with the adversary."""
        if not self.draws_fresh(index):
            return player == "base"
        if player == "adversary" and self.arm.reward == "none":
            return False
        turn = "base" if (index - self.arm.warm) // self.arm.every % 2 else "adversary"
        return self.arm.together or player == turn

    def known_images(self, index: int) -> list[int]:
        """Return the images of a round without fresh drawings: of the data set, or replayed ones and some of it."""
        if self.arm.source != "adversary" or index < self.arm.warm:
            return self.next_data(self.arm.images)
        replayed = self.pool.choose(self.arm.replay, stream(self.seed, "replay", index))
        return replayed + self.next_data(self.arm.replay + self.arm.data - len(replayed))

    def next_data(self, count: int) -> list[int]:
        """Return the next images of the data set, shuffled anew for each epoch."""
        chosen = []
        for place in range(self.used, self.used + count):
            epoch, at = divmod(place, len(self.data))
            order = list(range(len(self.data)))
            stream(self.seed, "epoch", epoch).shuffle(order)
            chosen.append(self.data[order[at]])
        self.used += count
        return chosen

    @property
    def needs_ceilings(self) -> bool:
        return self.arm.reward == "regret" or self.arm.replay > 0

    def redraw_seed(self, image: int) -> int:
        """Return the seed of an image's reconstructions and ceiling, the same in every round.

        So equal descriptions of one image are one draw, whenever they come.
        """
        return derive_seed(self.seed, "redraw", image) % DRAW_SEEDS

    def pay(self, request: Request, purpose: str) -> None:
        """Count a draw; one that this run paid for before is free."""
        if request not in self.paid:
            self.paid.add(request)
            self.spent[purpose] += 1


def stack_uniforms(runs: Sequence[Run], shape: tuple[int, ...], *names: int | str) -> Tensor:
    """Return random numbers of each run's own stream, (A, *shape) on the CPU."""
    return torch.stack([torch.rand(shape, generator=torch_stream(run.seed, "sample", *names)) for run in runs])


def group_runs(runs: Sequence[Run], key: Callable[[Run], Key]) -> dict[Key, list[Run]]:
    """Return runs by key: those of one group have tensors of one shape."""
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return groups


def slices(count: int, rows_each: int, most: int) -> list[slice]:
    """Return slices of `count` runs with at most `most` rows together."""
    size = max(1, most // rows_each)
    return [slice(start, start + size) for start in range(0, count, size)]
