"""The schedule: which player trains in which round, and which images of the data set a round uses."""

from collections.abc import Iterator, Sequence

from duel.randomness import stream
from duel.types import Player


def player_of(order: Sequence[Player], round: int) -> Player:
    """Return the player that trains in `round`, counted from 0; `order` repeats."""
    return order[round % len(order)]


def chapters(first: int, rounds: int, length: int = 25) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) ranges that cover rounds `first` to `rounds`, cut at multiples of `length`."""
    while first < rounds:
        stop = min(rounds, (first // length + 1) * length)
        yield first, stop
        first = stop


def turns_before(order: Sequence[Player], round: int) -> int:
    """Return how many earlier rounds trained the same player as `round`."""
    return turns_of(player_of(order, round), order, round)


def turns_of(player: Player, order: Sequence[Player], rounds: int) -> int:
    """Return how many of the first `rounds` rounds train `player`."""
    whole, rest = divmod(rounds, len(order))
    return whole * order.count(player) + list(order[:rest]).count(player)


def images_of_turn(seed: int, available: int, wanted: int, turn: int) -> list[int]:
    """Return the indices of the images that the base describes in its `turn`-th round (from 0).

    An epoch-wise shuffle: every image is used once per epoch, each epoch in its own random order.
    """
    chosen = []
    for position in range(turn * wanted, (turn + 1) * wanted):
        epoch, place = divmod(position, available)
        order = list(range(available))
        stream(seed, "epoch", epoch).shuffle(order)
        chosen.append(order[place])
    return chosen
