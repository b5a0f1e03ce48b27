"""The schedule: which player trains in which round, and which images of the data set a round uses."""

from collections.abc import Iterator
from dataclasses import dataclass

from duel.randomness import stream
from duel.types import Player, Turn


@dataclass(frozen=True)
class Schedule:
    """Which turn each round is: `warm_up` rounds of the base on the data set's images, then `order`, repeated."""

    order: tuple[Turn, ...]
    warm_up: int = 0

    def turn(self, round: int) -> Turn:
        """Return the turn of `round`, counted from 0."""
        return "warm_up" if round < self.warm_up else self.order[(round - self.warm_up) % len(self.order)]

    def player(self, round: int) -> Player:
        """Return the player that trains in `round`."""
        return "adversary" if self.turn(round) == "adversary" else "base"

    @property
    def players(self) -> list[Player]:
        """The players that train, in the order of their first turn."""
        return list(dict.fromkeys(self.player(round) for round in range(self.warm_up + len(self.order))))

    def turns_before(self, round: int) -> int:
        """Return how many earlier rounds trained the same player as `round`."""
        return self.turns_of(self.player(round), round)

    def turns_of(self, player: Player, rounds: int) -> int:
        """Return how many of the first `rounds` rounds train `player`."""
        warm = min(rounds, self.warm_up)
        of_order = ["adversary" if turn == "adversary" else "base" for turn in self.order]
        whole, rest = divmod(rounds - warm, len(self.order))
        after = whole * of_order.count(player) + of_order[:rest].count(player)
        return after + (warm if player == "base" else 0)


def chapters(first: int, rounds: int, length: int = 25) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) ranges that cover rounds `first` to `rounds`, cut at multiples of `length`."""
    while first < rounds:
        stop = min(rounds, (first // length + 1) * length)
        yield first, stop
        first = stop


def past_adversaries(learned: int, every: int, kept: int) -> list[int]:
    """Return the past adversaries that an adversary which has learned from `learned` rounds may be replaced by.

    Each is the number of rounds that it had learned from, a multiple of `every`; at most `kept`, the latest.
    """
    return list(range(0, learned, every))[-kept:]


def images_of_turn(seed: int, available: int, wanted: int, turn: int, name: str = "epoch") -> list[int]:
    """Return the indices of the images that the base describes in its `turn`-th round (from 0).

    An epoch-wise shuffle: every image is used once per epoch, each epoch in its own random order.
    """
    chosen = []
    for position in range(turn * wanted, (turn + 1) * wanted):
        epoch, place = divmod(position, available)
        order = list(range(available))
        stream(seed, name, epoch).shuffle(order)
        chosen.append(order[place])
    return chosen
