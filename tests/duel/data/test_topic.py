import pytest
import torch

from duel.data.topic import Topic, least_nearness, nearness

IMAGES = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


def test_nearness_is_the_cosine_to_the_nearest_image():
    vectors = torch.tensor([[0.6, 0.8], [1.0, 0.0], [-1.0, 0.0], [-0.8, -0.6]])
    assert nearness(IMAGES, vectors) == pytest.approx([0.8, 1.0, 0.0, -0.6])


def test_no_nearness_is_above_1():
    assert nearness(IMAGES, torch.tensor([[1.0000001, 0.0]])) == [1.0]


@pytest.mark.parametrize(("share", "least"), [(1.0, 0.25), (0.75, 0.5), (0.5, 0.75), (0.875, 0.375), (0.625, 0.625)])
def test_the_threshold_is_what_a_share_of_the_held_out_images_reach(share, least):
    assert least_nearness([1.0, 0.5, 0.25, 0.75, 0.8125], share) == least


def test_one_held_out_image_is_the_threshold_itself():
    assert least_nearness([0.5], 0.9) == 0.5


def test_a_drawing_at_the_threshold_is_on_topic():
    topic = Topic(IMAGES, 0.5)
    assert [topic.has(near) for near in (0.5, 0.49)] == [True, False]
    assert topic.nearness(torch.tensor([0.6, 0.8])) == pytest.approx(0.8)
