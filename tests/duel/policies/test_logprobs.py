import math

import pytest
import torch

from duel.images import decode_image
from duel.policies.load import load_players
from duel.policies.logprobs import log_distribution
from duel.types import ModelInput
from tests.support import tiny

INPUTS = [ModelInput("hello", tiny.picture("red")), ModelInput("what is it?", tiny.picture("blue", (84, 56)))]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A base policy with a non-zero adapter."""
    policy = load_players(tiny.settings(tiny.save_vlm(tmp_path_factory.mktemp("vlm"))), ["base"])["base"]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.tuning.parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return policy


def test_tempered_and_masked_by_hand():
    logits = torch.tensor([0.0, 2 * math.log(3), 50.0])
    logprobs = log_distribution(logits, torch.tensor([False, False, True]), temperature=2.0)
    assert logprobs.exp().tolist() == pytest.approx([0.25, 0.75, 0.0])


def test_recomputed_logprobs_equal_those_at_sampling(policy):
    seeds = [list(range(20)), list(range(20, 40))]
    sampled = policy.sample_rows(INPUTS, seeds, temperature=2.0, max_new_tokens=24)
    completions = policy.sample(INPUTS, seeds, temperature=2.0, max_new_tokens=24)
    scored = [row for group in policy.logprobs(INPUTS, completions, temperature=2.0) for row in group]
    assert len({len(row) for row in scored}) > 3  # of different lengths
    for padded, row in zip(sampled.logprobs_BT.tolist(), scored, strict=True):
        assert padded[: len(row)] == pytest.approx(row, abs=1e-4)


def test_a_group_of_different_lengths_scores_as_each_alone(policy):
    lengths = [1, 2, 3, 5, 8, 13, 16, 20]
    group = [tiny.completion([20 + 3 * k for k in range(length)]) for length in lengths]
    together = policy.logprobs(INPUTS, [group, group[::-1]], temperature=0.9)
    for given, completions, scores in zip(INPUTS, [group, group[::-1]], together, strict=True):
        for completion, score in zip(completions, scores, strict=True):
            assert len(score) == len(completion.tokens)
            [[alone]] = policy.logprobs([given], [[completion]], temperature=0.9)
            assert score == pytest.approx(alone, abs=1e-5)


def test_scores_agree_with_a_plain_forward_pass(policy):
    """One image and one completion, without shared prefix, cache or padding, with the model's own position ids."""
    tokens = [20, 33, 46, 59]
    [[scores]] = policy.logprobs(INPUTS[1:], [[tiny.completion(tokens)]], temperature=0.7)
    model = policy.model
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": INPUTS[1].instruction}]}]
    text = model.processor.apply_chat_template([chat], add_generation_prompt=True, tokenize=False)
    encoded = model.processor(text=text, images=[decode_image(INPUTS[1].image)], return_tensors="pt")
    ids = torch.cat([encoded.pop("input_ids"), torch.tensor([tokens])], 1)
    encoded["mm_token_type_ids"] = torch.nn.functional.pad(encoded["mm_token_type_ids"], (0, 4))
    encoded["attention_mask"] = torch.ones_like(ids)
    with torch.no_grad():
        logits = model.network(input_ids=ids, **encoded).logits[0, -5:-1]
    logits[:, model.forbidden_V] = float("-inf")
    expected = (logits / 0.7).log_softmax(-1)[range(4), tokens]
    assert scores == pytest.approx(expected.tolist(), abs=1e-5)
