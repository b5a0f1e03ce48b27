import pytest
import torch

from duel.policies.cuda_graph import sample_rows_static
from duel.policies.inputs import build_prompts
from duel.policies.load import load_players
from duel.policies.prefix import encode_prompts
from duel.policies.sampling import choose_tokens, draw_uniforms, sample_rows
from duel.types import ModelInput
from tests.support import tiny

RED, BLUE = tiny.picture("red"), tiny.picture("blue", (84, 56))
INPUTS = [ModelInput("hello", RED), ModelInput("what is to be seen?", BLUE), ModelInput("no image")]
SEEDS = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return load_players(tiny.settings(tiny.save_vlm(tmp_path_factory.mktemp("vlm"))), ["base"])["base"]


def test_inverse_cdf_by_hand():
    logprobs = torch.tensor([[0.25, 0.0, 0.5, 0.25]]).log().repeat(6, 1)
    uniforms = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2**-24])
    assert choose_tokens(logprobs, uniforms).tolist() == [0, 0, 2, 2, 3, 3]


def test_a_forbidden_token_is_never_chosen_at_the_ends():
    logprobs = torch.tensor([[0.0, 1.0, 0.0]]).log().repeat(2, 1)
    assert choose_tokens(logprobs, torch.tensor([0.0, 1 - 2**-24])).tolist() == [1, 1]


def test_chosen_tokens_follow_the_distribution():
    # Pearson's chi-square with 4 degrees of freedom: above 13.28 with probability 0.01
    probabilities = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    uniforms = draw_uniforms([11], 20_000)[0]
    counts = choose_tokens(probabilities.log().repeat(20_000, 1), uniforms).bincount(minlength=5)
    expected = probabilities * 20_000
    assert ((counts - expected) ** 2 / expected).sum().item() < 13.28


def test_an_input_alone_gives_the_same_texts_as_among_others(policy):
    together = policy.sample(INPUTS, SEEDS, temperature=0.9, max_new_tokens=16)
    for given, seeds, texts in zip(INPUTS, SEEDS, together, strict=True):
        assert policy.sample([given], [seeds], temperature=0.9, max_new_tokens=16) == [texts]


def test_equal_inputs_are_read_once_and_sampled_by_their_own_seeds(policy, monkeypatch):
    given = ModelInput("x", tiny.picture("teal"))  # not read by another test
    read = []
    forward = policy.model.network.model.visual.forward
    monkeypatch.setattr(
        policy.model.network.model.visual,
        "forward",
        lambda pixels, grid_thw, **kw: read.append(len(grid_thw)) or forward(pixels, grid_thw=grid_thw, **kw),
    )
    twice = policy.sample([given, given], [[1, 2], [3, 4]], temperature=0.9, max_new_tokens=8)
    assert read == [1]
    assert twice == policy.sample([given, given], [[1, 2], [3, 4]], temperature=0.9, max_new_tokens=8)
    assert len({completion.packed_tokens for group in twice for completion in group}) == 4


def test_special_tokens_are_never_sampled_at_temperature_5(policy):
    special = set(range(len(tiny.SPECIAL))) - {tiny.SPECIAL.index("<|im_end|>")}
    rows = policy.sample(INPUTS, [list(range(60))] * 3, temperature=5.0, max_new_tokens=40)
    sampled = {token for group in rows for completion in group for token in completion.tokens}
    assert not sampled & special
    assert max(sampled) < len(policy.model.tokenizer)  # nor rows that only round the embedding up
    assert len(sampled) > 200


def test_completions_end_with_the_end_token_or_at_the_limit(policy):
    end = tiny.SPECIAL.index("<|im_end|>")
    flat = [
        c for group in policy.sample(INPUTS, [list(range(20))] * 3, temperature=2.0, max_new_tokens=30) for c in group
    ]
    assert {completion.finished for completion in flat} == {True, False}
    for completion in flat:
        assert end not in completion.tokens[:-1]
        assert (completion.tokens[-1] == end) == completion.finished
        assert completion.finished or len(completion.tokens) == 30
        assert "<|im_end|>" not in completion.text


def test_a_longer_limit_only_extends_the_completion(policy):
    short = policy.sample(INPUTS, SEEDS, temperature=0.9, max_new_tokens=5)
    long = policy.sample(INPUTS, SEEDS, temperature=0.9, max_new_tokens=10)
    for few, many in zip(short, long, strict=True):
        assert [c.tokens for c in few] == [c.tokens[:5] for c in many]


def test_no_inputs_give_no_completions(policy):
    assert policy.sample([], [], temperature=0.9, max_new_tokens=5) == []
    assert policy.sample(INPUTS[:1], [[]], temperature=0.9, max_new_tokens=5) == [[]]


def test_the_global_random_state_is_untouched(policy):
    before = torch.get_rng_state()
    policy.sample(INPUTS, SEEDS, temperature=0.9, max_new_tokens=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_static_decoder_writes_the_same_as_the_dynamic_one(policy):
    """The loop that CUDA would capture, run without capture; twice, to check that its buffers are reset."""
    asked = [INPUTS[0], INPUTS[1]]
    decoder = None
    for seeds in ([1, 2, 3, 4], [5, 6, 7, 8]):
        with policy.tuning.active(), torch.no_grad():
            prefix = encode_prompts(policy.model, build_prompts(policy.model, asked))
            expanded = prefix.expand(torch.tensor([0, 0, 1, 1]))
            uniforms = draw_uniforms(seeds, 24)
            dynamic = sample_rows(policy.model, expanded, uniforms, temperature=2.0)
            kept = decoder
            static, decoder = sample_rows_static(decoder, policy.model, expanded, uniforms, temperature=2.0)
        assert kept is None or kept is decoder
        assert torch.equal(static.lengths_B, dynamic.lengths_B)
        assert torch.equal(static.finished_B, dynamic.finished_B)
        assert torch.equal(static.tokens_BT, dynamic.tokens_BT)
        torch.testing.assert_close(static.logprobs_BT, dynamic.logprobs_BT, atol=1e-4, rtol=0)
