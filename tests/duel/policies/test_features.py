"""Features of a frozen vision tower are computed once for a batch of images."""

import pytest
import torch

from duel.policies.features import FeatureMemo
from duel.policies.inputs import build_prompts
from duel.policies.load import load_players
from duel.policies.prefix import encode_prompts
from duel.types import ModelInput
from tests.support import families, tiny

RED, BLUE = tiny.picture("red"), tiny.picture("blue")
SAVED = {
    "qwen2_5_vl": tiny.save_vlm,
    "qwen3_vl": families.save_qwen3_vl,
    "qwen3_5": families.save_qwen3_5,
    "llava": families.save_llava,
    "gemma3": families.save_gemma3,
}


def base(folder, **changes):
    return load_players(tiny.settings(folder, **changes), ["base"])["base"]


@pytest.mark.parametrize("family", SAVED)
def test_the_same_images_are_read_once_and_give_the_same_bits(family, tmp_path):
    model = base(SAVED[family](tmp_path)).model
    prompts = build_prompts(model, [ModelInput("a", RED), ModelInput("b", BLUE)])
    before = model.features.computed
    first = encode_prompts(model, prompts)
    again = encode_prompts(model, build_prompts(model, [ModelInput("a", RED), ModelInput("b", BLUE)]))
    assert model.features.computed == before + 1
    assert torch.equal(first.logits_IV, again.logits_IV)
    assert first.logits_IV.isfinite().all()


def test_other_images_another_order_and_texts_alone_are_told_apart(tmp_path):
    model = base(tiny.save_vlm(tmp_path)).model
    orders = [[RED, BLUE], [BLUE, RED], [RED, None]]
    logits = [
        encode_prompts(model, build_prompts(model, [ModelInput("a", image) for image in images])).logits_IV
        for images in orders
    ]
    assert model.features.computed == 3
    assert torch.equal(logits[0][0], logits[1][1])
    assert not torch.equal(logits[0][0], logits[0][1])
    encode_prompts(model, build_prompts(model, [ModelInput("a")]))
    assert model.features.computed == 3


def test_a_tower_that_is_trained_is_called_every_time(tmp_path):
    policy = base(tiny.save_vlm(tmp_path), models={"tuning": "full"})
    prompts = build_prompts(policy.model, [ModelInput("a", RED)])
    with torch.no_grad():
        encode_prompts(policy.model, prompts)
        before = encode_prompts(policy.model, prompts).logits_IV
        assert policy.model.features.computed == 0
        for weight in policy.model.network.get_encoder(modality="image").parameters():
            weight.mul_(1.5)
        assert not torch.equal(encode_prompts(policy.model, prompts).logits_IV, before)


class TwiceCalled:
    """A network whose tower is called for each of its images in turn, as some families do."""

    def __init__(self):
        self.tower = torch.nn.Linear(2, 2).requires_grad_(False)

    def get_encoder(self, modality):
        return self.tower

    def __call__(self, images):
        return [self.tower(image) for image in images]


def test_a_tower_that_is_called_several_times_returns_each_calls_own_output():
    network, memo, images = TwiceCalled(), FeatureMemo(), torch.eye(2)
    expected = network(images)
    for _ in range(2):
        with memo.reading(network, "batch"):
            assert all(torch.equal(*pair) for pair in zip(network(images), expected, strict=True))
    assert memo.computed == 2


def test_only_the_last_batches_are_kept_and_large_ones_never(monkeypatch):
    network, memo, images = TwiceCalled(), FeatureMemo(), torch.eye(2)
    for batch in ("a", "b", "c", "d", "d", "a"):  # a is dropped for d
        with memo.reading(network, batch):
            network(images)
    assert memo.computed == 2 * 5
    monkeypatch.setattr("duel.policies.features.MOST_BYTES", 15)  # two outputs of two floats have 16
    for _ in range(2):
        with memo.reading(network, "large"):
            network(images)
    assert memo.computed == 2 * 7


def test_a_failed_forward_pass_leaves_the_tower_as_it_was():
    network, memo = TwiceCalled(), FeatureMemo()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), memo.reading(network, "batch"):
        network(torch.ones(1, 3))
    assert "forward" not in network.tower.__dict__
    with memo.reading(network, "batch"):
        assert len(network(torch.eye(2))) == 2
