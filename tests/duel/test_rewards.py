import dataclasses
import math

import pytest

from duel.errors import SettingsError
from duel.rewards import (
    Described,
    LearnabilityReward,
    PlainReward,
    RegretReward,
    SimilarityReward,
    check_rewards,
    load_rewards,
)
from duel.settings import RewardSettings
from duel.settings.profile import read_settings
from duel.types import Drawing, PromptParts

DRAWN, REFUSED = Drawing("a chart", 1, "k"), Drawing("a chart", 1, None, "refused")


def described(*similarities, original=DRAWN, ceiling=None, alike=None):
    redrawn = [Drawing("text", 2, None if similarity is None else "r") for similarity in similarities]
    return Described(original, ["text"] * len(redrawn), redrawn, list(similarities), ceiling, alike)


GROUP = [  # similarities that are well and badly pinned down, a refused prompt, refused reconstructions
    described(0.5, 0.7, ceiling=0.95),
    described(0.5, 0.7, ceiling=0.89),
    described(None, None, original=REFUSED),
    described(None, None, ceiling=0.95),
]


def earned(group, **how):
    return [reward for reward, _ in load_rewards(RewardSettings(**how)).of_prompts(group)]


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


def test_regret_or_a_gate_asks_for_second_drawings():
    names = ("plain", "regret", "learnability")
    assert [load_rewards(RewardSettings(adversary=name)).needs_ceiling for name in names] == [False, True, False]
    assert [load_rewards(RewardSettings(adversary=name, gate=0.9)).needs_ceiling for name in names] == [True] * 3


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
    assert earned(GROUP, adversary="regret", gate=0.9, invalid=-0.2) == [pytest.approx(0.35), -0.2, -0.2, None]


def test_the_gate_acts_on_every_reward():
    assert earned(GROUP, adversary="plain", gate=0.9) == [pytest.approx(0.4), -0.2, -0.2, None]
    assert earned(GROUP, adversary="learnability", gate=0.9) == [pytest.approx(0.1), -0.2, -0.2, None]


def test_a_prompt_whose_second_drawing_was_refused_is_behind_no_gate():
    assert earned([described(0.75)], adversary="plain", gate=0.9) == [0.25]


def test_without_a_gate_prompts_earn_exactly_what_the_reward_gives():
    for name, reward in (("plain", PlainReward()), ("regret", RegretReward())):
        assert earned(GROUP, adversary=name) == reward(GROUP)
    assert earned(GROUP, adversary="plain") == [pytest.approx(0.4), pytest.approx(0.4), 0.0, None]


def test_prompts_are_measured_whichever_reward_trains():
    parts = [PromptParts(pytest.approx(0.1), None), PromptParts(pytest.approx(0.1), "ceiling")]
    parts += [PromptParts(None, "refused"), PromptParts(None, None)]
    for name in ("plain", "regret", "learnability"):
        assert [part for _, part in load_rewards(RewardSettings(adversary=name, gate=0.9)).of_prompts(GROUP)] == parts


def test_a_near_duplicate_earns_less_unless_it_is_invalid_or_has_no_reward():
    group = [
        described(0.5, ceiling=0.95, alike=0.875),
        described(0.5, ceiling=0.95, alike=0.75),  # as similar as near-duplicates are
        described(0.5, ceiling=0.95, alike=0.7),
        described(0.5, ceiling=0.5, alike=1.0),
        described(None, ceiling=0.95, alike=1.0),
        described(0.5, ceiling=0.95),  # alone
    ]
    how = {"adversary": "plain", "gate": 0.9, "diversity": 0.125, "duplicate": 0.75}
    assert earned(group, **how) == [0.375, 0.375, 0.5, -0.2, None, 0.5]
    parts = [part for _, part in load_rewards(RewardSettings(**how)).of_prompts(group)]
    assert [part.penalty for part in parts] == [0.125, 0.125, 0.0, 0.0, 0.0, 0.0]
    assert [part.self_similarity for part in parts] == [0.875, 0.75, 0.7, 1.0, 1.0, None]


def test_a_prompt_off_topic_is_invalid_also_without_a_gate_on_ceilings():
    group = [dataclasses.replace(described(0.5), nearness=near, off_topic=near < 0.5) for near in (0.5, 0.25)]
    group += [described(None, original=REFUSED)]
    how = {"adversary": "plain", "off_topic": 0.9}
    assert earned(group, **how) == [0.5, -0.2, -0.2]
    parts = [part for _, part in load_rewards(RewardSettings(**how)).of_prompts(group)]
    assert [(part.invalid, part.nearness) for part in parts] == [(None, 0.5), ("off_topic", 0.25), ("refused", None)]
    assert not load_rewards(RewardSettings(**how)).needs_ceiling


def test_the_first_reason_that_holds_is_why_a_prompt_is_invalid():
    vague = dataclasses.replace(described(0.5, ceiling=0.5), off_topic=True)
    [(_, parts)] = load_rewards(RewardSettings(gate=0.9, off_topic=0.9)).of_prompts([vague])
    assert parts.invalid == "ceiling"


def test_near_duplicates_cost_nothing_by_default():
    assert earned([described(0.25, alike=1.0)], adversary="plain") == [0.75]


def test_learnability_is_the_standard_deviation_of_the_bases_rewards():
    reward = LearnabilityReward(SimilarityReward())
    assert reward([described(0.25, 0.75), described(0.5, 0.5, 0.5)]) == [0.25, 0.0]
    assert reward([described(1.0, 1.0, 1.0, 0.0)]) == [pytest.approx((0.75 * 0.25) ** 0.5)]  # sqrt(p (1 - p))


def test_learnability_goes_by_the_bases_rewards_and_not_by_similarities():
    class Tenfold:
        def __call__(self, described):
            return [10 * similarity for similarity in described.similarities]

    assert LearnabilityReward(Tenfold())([described(0.25, 0.75)]) == [2.5]


def test_learnability_needs_two_rewards_and_a_refused_prompt_earns_0():
    reward = LearnabilityReward(SimilarityReward())
    refused = described(None, None, original=REFUSED)
    assert reward([described(0.5), described(0.5, None), refused]) == [None, None, 0.0]


def test_learnability_of_one_description_is_refused():
    with pytest.raises(SettingsError, match="learnability with sampling.descriptions = 1; expected at least 2"):
        read_settings({"rewards": {"adversary": "learnability"}})
