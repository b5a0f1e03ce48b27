import pytest

from duel.randomness import draw_seed, sample_seeds
from duel.schedule import Schedule, images_of_turn, past_adversaries


def test_players_alternate_strictly_from_the_base():
    assert [Schedule(("base", "adversary")).player(round) for round in range(4)] == [
        "base",
        "adversary",
        "base",
        "adversary",
    ]


def test_an_order_of_one_trains_that_player_alone():
    assert [Schedule(("base",)).player(round) for round in range(3)] == ["base", "base", "base"]


def test_turns_count_a_players_own_rounds():
    assert [Schedule(("base", "adversary")).turns_before(round) for round in range(6)] == [0, 0, 1, 1, 2, 2]


def test_turns_count_within_an_uneven_order():
    schedule = Schedule(("base", "base", "adversary"))
    assert [schedule.turns_before(round) for round in range(6)] == [0, 1, 0, 2, 3, 1]


def test_every_image_comes_once_before_any_comes_again():
    seen = [image for turn in range(5) for image in images_of_turn(3, available=10, wanted=4, turn=turn)]
    assert sorted(seen[:10]) == list(range(10))
    assert sorted(seen[10:20]) == list(range(10))
    assert seen[:10] != seen[10:20]


def test_a_turns_images_do_not_depend_on_other_turns():
    assert images_of_turn(3, 10, 4, turn=2) == images_of_turn(3, 10, 4, turn=2)


def test_seeds_of_originals_and_reconstructions_differ():
    assert draw_seed(0, 5, "draw_originals", 0) != draw_seed(0, "redraw", "key")


def test_draw_seeds_fit_31_bits():
    assert all(0 <= draw_seed(seed, "x") < 2**31 for seed in range(200))


def test_every_completion_has_its_own_seed():
    seeds = sample_seeds(0, 3, 4, 7, "description")
    assert len({seed for row in seeds for seed in row}) == 12


def test_turns_of_a_player_among_the_first_rounds():
    assert [Schedule(("base", "adversary")).turns_of("base", rounds) for rounds in (0, 1, 2, 5)] == [0, 1, 1, 3]
    assert Schedule(("base",)).turns_of("base", 7) == 7


def test_a_warm_up_comes_first_and_counts_as_the_bases():
    schedule = Schedule(("adversary", "base", "replay"), warm_up=2)
    turns = ["warm_up", "warm_up", "adversary", "base", "replay", "adversary"]
    assert [schedule.turn(round) for round in range(6)] == turns
    assert [schedule.player(round) for round in range(6)] == ["base", "base", "adversary", "base", "base", "adversary"]
    assert [schedule.turns_of("base", rounds) for rounds in range(7)] == [0, 1, 2, 2, 3, 4, 4]
    assert [schedule.turns_of("adversary", rounds) for rounds in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert schedule.players == ["base", "adversary"]


@pytest.mark.parametrize(
    ("learned", "choices"), [(0, []), (1, [0]), (5, [0]), (6, [0, 5]), (10, [0, 5]), (11, [5, 10]), (16, [10, 15])]
)
def test_the_latest_past_adversaries_are_chosen_from_and_never_the_present_one(learned, choices):
    assert past_adversaries(learned, every=5, kept=2) == choices
