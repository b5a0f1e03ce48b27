import pytest

from duel.rewards import adversary_reward, base_reward
from duel.types import Drawing

DRAWN, REFUSED = Drawing("a chart", 1, "k"), Drawing("a chart", 1, None, "refused")


def test_the_base_earns_the_similarity():
    assert base_reward(0.75) == 0.75


def test_the_adversary_earns_what_the_base_missed():
    assert adversary_reward(DRAWN, 0.75) == pytest.approx(0.25)


def test_a_negative_similarity_pays_the_adversary_more_than_one():
    assert adversary_reward(DRAWN, -0.5) == pytest.approx(1.5)


def test_a_refused_prompt_earns_the_adversary_least():
    assert adversary_reward(REFUSED, None) == 0.0


def test_a_refused_description_is_left_out_for_both():
    assert base_reward(None) is None
    assert adversary_reward(DRAWN, None) is None
