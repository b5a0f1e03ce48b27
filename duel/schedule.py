"""Which player trains in which round, and which images of the data set a round uses."""

from collections.abc import Iterator, Sequence

from duel.randomness import stream
from duel.types import Player


def player_of(order: Sequence[Player], round: int) -> Player:
    """Return who trains in `round`, counted from 0."""
    return order[round % len(order)]


def chapters(first: int, rounds: int, length: int = 25) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the stretches from round `first` to `rounds`; each but the first starts at a multiple."""
    while first < rounds:
        stop = min(rounds, (first // length + 1) * length)
        yield first, stop
        first = stop


def turns_before(order: Sequence[Player], round: int) -> int:
    """Return how many rounds before `round` had the same player."""
    return turns_of(player_of(order, round), order, round)


def turns_of(player: Player, order: Sequence[Player], rounds: int) -> int:
    """Return how many of the first `rounds` rounds train `player`."""
    whole, rest = divmod(rounds, len(order))
    return whole * order.count(player) + list(order[:rest]).count(player)


def images_of_turn(seed: int, available: int, wanted: int, turn: int) -> list[int]:
    """Return the indices of the data set's images that the base describes in its `turn`-th round.

    Every image comes once before any comes again; each pass has its own order.
    """
    chosen = []
    for position in range(turn * wanted, (turn + 1) * wanted):
        epoch, place = divmod(position, available)
        order = list(range(available))
        stream(seed, "epoch", epoch).shuffle(order)
        chosen.append(order[place])
    return chosen
