import math

import pytest

from duel.errors import SettingsError
from duel.rewards import Described, PlainReward, RegretReward, SimilarityReward, check_rewards, load_rewards
from duel.settings import RewardSettings
from duel.types import Drawing

DRAWN, REFUSED = Drawing("a chart", 1, "k"), Drawing("a chart", 1, None, "refused")


def described(*similarities, original=DRAWN, ceiling=None):
    redrawn = [Drawing("text", 2, None if similarity is None else "r") for similarity in similarities]
    return Described(original, ["text"] * len(redrawn), redrawn, list(similarities), ceiling)


def test_the_base_earns_the_similarities():
    assert SimilarityReward()(described(0.75, 0.5)) == [0.75, 0.5]


def test_plain_reward_is_1_minus_similarity():
    assert PlainReward()([described(0.75), described(0.25)]) == [0.25, 0.75]


def test_a_negative_similarity_gives_a_plain_reward_above_1():
    assert PlainReward()([described(-0.5)]) == [1.5]


def test_several_descriptions_count_by_their_mean_similarity():
    assert PlainReward()([described(0.5, None, 0.25)]) == [0.625]
    assert RegretReward()([described(0.5, None, 0.25, ceiling=0.875)]) == [0.5]


def test_a_refused_prompt_gets_the_lowest_plain_reward():
    assert PlainReward()([described(None, original=REFUSED), described(0.75)]) == [0.0, 0.25]


def test_a_refused_description_is_left_out_for_both():
    assert SimilarityReward()(described(None)) == [None]
    assert PlainReward()([described(None)]) == [None]
    assert RegretReward()([described(None, ceiling=0.5)]) == [None]


def test_regret_is_ceiling_minus_similarity():
    assert RegretReward()([described(0.25, ceiling=0.75), described(0.5, ceiling=0.5)]) == [0.5, 0.0]


def test_regret_is_not_clipped():
    assert RegretReward()([described(0.75, ceiling=0.5)]) == [-0.25]


def test_regret_without_a_second_drawing_is_left_out():
    assert RegretReward()([described(0.5)]) == [None]


def test_a_refused_prompt_has_the_least_regret_of_its_group_and_none_above_0():
    refused = described(None, original=REFUSED)
    assert RegretReward()([refused, described(0.25, ceiling=0.75)]) == [0.0, 0.5]
    assert RegretReward()([described(0.75, ceiling=0.5), refused]) == [-0.25, -0.25]


def test_regret_alone_asks_for_second_drawings():
    plain, regret = (load_rewards(RewardSettings(adversary=name)).adversary for name in ("plain", "regret"))
    assert (plain.needs_ceiling, regret.needs_ceiling) == (False, True)


def test_rewards_of_another_number_are_refused():
    with pytest.raises(SettingsError, match="rewards.base: got 1 rewards, expected 2"):
        check_rewards([0.5], 2, "rewards.base")


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_reward_that_is_not_finite_is_refused(reward):
    with pytest.raises(SettingsError, match=f"rewards.adversary: got the reward {reward}, expected a finite number"):
        check_rewards([0.5, reward], 2, "rewards.adversary")


def test_rewards_become_plain_numbers_that_json_has():
    [number, absent] = check_rewards([1, None], 2, "rewards.base")
    assert type(number) is float
    assert absent is None


def test_behind_a_gate_a_prompt_that_cannot_be_drawn_twice_alike_is_invalid():
    gated = RegretReward(gate=0.9, invalid=-0.2)
    pinned, vague = described(0.5, 0.7, ceiling=0.95), described(0.5, 0.7, ceiling=0.89)
    refused, unmeasured = described(None, original=REFUSED), described(None, None, ceiling=0.95)
    assert gated([pinned, vague, refused, unmeasured]) == [pytest.approx(0.35), -0.2, -0.2, None]
