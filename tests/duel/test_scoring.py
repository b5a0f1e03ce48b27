"""Similarities and rewards of drawings whose embeddings are known unit vectors."""

import math

import pytest
import torch

from duel.data.topic import Topic
from duel.errors import SettingsError
from duel.rewards import PlainReward, Rewards, SimilarityReward
from duel.scoring import compare, reward_attempts
from duel.types import Drawing

VECTORS = {b"east": (1.0, 0.0), b"north": (0.0, 1.0), b"northeast": (0.6, 0.8), b"west": (-1.0, 0.0)}
BUILT_IN = Rewards(SimilarityReward(), PlainReward())


def drawing(image, text="text"):
    return Drawing(text, 0, image, None if image else "refused")


def read(drawn):
    return drawn.key.encode()


def embed(images):
    return torch.tensor([VECTORS[image] for image in images])


def similarities(described):
    return [[one.similarities for one in group] for group in described]


def test_one_original_stands_for_all_its_reconstructions():
    originals = [[drawing("east")], [drawing("north")]]
    redrawn = [[drawing("east"), drawing("northeast")], [drawing("east"), drawing("northeast")]]
    described = compare(originals, redrawn, [], embed, read)
    assert similarities(described) == [[[1.0, pytest.approx(0.6)]], [[0.0, pytest.approx(0.8)]]]


def test_each_original_has_its_own_reconstruction():
    described = compare([[drawing("east"), drawing("north")]], [[drawing("west"), drawing("north")]], [], embed, read)
    assert similarities(described) == [[[-1.0], [1.0]]]


def test_each_of_several_originals_can_have_several_reconstructions():
    redrawn = [[drawing("east", "a"), drawing("north", "b"), drawing("north", "c"), drawing("east", "d")]]
    [[first, second]] = compare([[drawing("east"), drawing("north")]], redrawn, [], embed, read)
    assert (first.descriptions, first.similarities) == (["a", "b"], [1.0, 0.0])
    assert (second.descriptions, second.similarities) == (["c", "d"], [1.0, 0.0])


def test_a_refused_image_has_no_similarity():
    described = compare([[drawing(None), drawing("east")]], [[drawing("east"), drawing(None)]], [], embed, read)
    assert similarities(described) == [[[None], [None]]]


def test_the_ceiling_is_the_similarity_of_two_drawings_of_one_prompt():
    originals = [[drawing("east"), drawing("north"), drawing(None)]]
    seconds = [[drawing("northeast"), drawing(None), drawing(None)]]
    [group] = compare(originals, originals, seconds, embed, read)
    assert [one.ceiling for one in group] == [pytest.approx(0.6), None, None]


def test_an_original_is_compared_with_the_others_of_its_group_and_with_recent_drawings():
    originals = [[drawing("east"), drawing("northeast"), drawing(None)]]
    recent = [drawing("north"), drawing("west")]
    [group] = compare(originals, originals, [], embed, read)
    assert [one.self_similarity for one in group] == [pytest.approx(0.6), pytest.approx(0.6), None]
    [group] = compare(originals, originals, [], embed, read, recent)
    assert [one.self_similarity for one in group] == [pytest.approx(0.6), pytest.approx(0.8), None]


def test_an_original_is_as_near_as_the_nearest_training_image_and_off_topic_below_the_threshold():
    topic = Topic(torch.tensor([VECTORS[b"east"], VECTORS[b"north"]]), least=0.9)
    originals = [[drawing(key) for key in ("east", "northeast", "west", None)]]
    [group] = compare(originals, originals, [], embed, read, topic=topic)
    assert [one.nearness for one in group] == [1.0, pytest.approx(0.8), 0.0, None]
    assert [one.off_topic for one in group] == [False, True, True, False]


def test_every_distinct_image_is_embedded_once_in_one_call():
    calls = []

    def embed_once(images):
        calls.append(list(images))
        return embed(images)

    compare([[drawing("north")]], [[drawing("east"), drawing("east")]], [[drawing("north")]], embed_once, read)
    assert calls == [[b"east", b"north"]]


def test_attempts_have_similarity_ceiling_and_reward():
    described = compare([[drawing("east")]], [[drawing("northeast")]], [[drawing("north")]], embed, read)
    [[attempt]] = reward_attempts(described, "adversary", BUILT_IN)
    assert attempt.original == drawing("east")
    assert attempt.reconstruction == drawing("northeast")
    assert attempt.similarity == pytest.approx(0.6)
    assert attempt.reward == pytest.approx(0.4)
    assert attempt.ceiling == 0.0


def test_the_base_is_rewarded_by_description_and_the_adversary_by_original():
    originals, redrawn = [[drawing("east"), drawing("north")]], [[drawing(key) for key in ("east", "north") * 2]]
    described = compare(originals, redrawn, [], embed, read)
    [base] = reward_attempts(described, "base", BUILT_IN)
    [adversary] = reward_attempts(described, "adversary", BUILT_IN)
    assert [attempt.reward for attempt in base] == [1.0, 0.0, 0.0, 1.0]
    assert [(attempt.reward, attempt.similarity) for attempt in adversary] == [(0.5, 0.5), (0.5, 0.5)]
    assert [attempt.original.key for attempt in adversary] == ["east", "north"]


def test_the_reconstruction_nearest_to_the_mean_stands_for_a_prompts_descriptions():
    described = compare([[drawing("east")]], [[drawing(key) for key in ("west", "northeast", "east")]], [], embed, read)
    [[attempt]] = reward_attempts(described, "adversary", BUILT_IN)
    assert attempt.similarity == pytest.approx(0.2)  # of -1, 0.6 and 1
    assert attempt.reconstruction.key == "northeast"


def test_the_adversarys_reward_sees_the_whole_group():
    class Rank:
        needs_ceiling = False

        def __call__(self, group):
            order = sorted(one.similarities[0] for one in group)
            return [float(order.index(one.similarities[0])) for one in group]

    described = compare([[drawing("east")] * 2], [[drawing("northeast"), drawing("west")]], [], embed, read)
    [attempts] = reward_attempts(described, "adversary", Rewards(SimilarityReward(), Rank()))
    assert [attempt.reward for attempt in attempts] == [1.0, 0.0]


def test_a_reward_class_with_too_few_rewards_is_named():
    class Short:
        needs_ceiling = False

        def __call__(self, group):
            return [0.5]

    described = compare([[drawing("east")] * 2], [[drawing("east")] * 2], [], embed, read)
    with pytest.raises(SettingsError, match="rewards.adversary: got 1 rewards, expected 2"):
        reward_attempts(described, "adversary", Rewards(SimilarityReward(), Short()))


def test_similarities_are_clipped_to_minus_1_and_1():
    def embed(images):
        return torch.tensor([[0.6, 0.8000001], [-0.6, -0.8000001]])[: len(images)]

    described = compare([[drawing("east")]], [[drawing("east"), drawing("north")]], [], embed, read)
    assert similarities(described) == [[[1.0, -1.0]]]


def test_an_embedding_that_is_not_finite_has_no_similarity():
    def embed(images):
        return torch.tensor([[1.0, 0.0], [math.nan, 0.0], [math.inf, 0.0]])[: len(images)]

    described = compare([[drawing("east")]], [[drawing("east"), drawing("north"), drawing("west")]], [], embed, read)
    assert similarities(described) == [[[1.0, None, None]]]
