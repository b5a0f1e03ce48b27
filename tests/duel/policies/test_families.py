"""Model families other than Qwen: other image tokens, processors, attention windows and layers."""

import pytest
import torch

from duel.errors import SettingsError
from duel.policies.inputs import build_prompts
from duel.policies.load import load_players
from duel.policies.logprobs import completion_logprobs
from duel.policies.models import limit_pixels
from duel.policies.prefix import encode_prompts, recomputing
from duel.types import ModelInput
from tests.support import families, tiny

WIDE = tiny.picture("blue", (112, 56))
INPUTS = [ModelInput("hello", tiny.picture("red")), ModelInput("what is it?", WIDE)]
FIXED_SIZE = {"gemma3": families.save_gemma3, "llava": families.save_llava}  # images of one size, tokens of `families`
SAVE = FIXED_SIZE | {"qwen3_vl": families.save_qwen3_vl, "qwen3_5": families.save_qwen3_5}
PLACEHOLDERS = {"gemma3": "<image_soft_token>", "llava": "<image>"}


@pytest.fixture(scope="module", params=SAVE)
def vlm(request, tmp_path_factory):
    return SAVE[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=FIXED_SIZE)
def fixed_size_vlm(request, tmp_path_factory):
    return FIXED_SIZE[request.param](tmp_path_factory.mktemp(request.param))


def test_image_tokens_are_counted_by_the_familys_own_processor(tmp_path):
    counts = {}
    for family, save in FIXED_SIZE.items():
        prompts = build_prompts(tiny.load(save(tmp_path / family)), INPUTS)
        counts[family] = (prompts.input_ids_IP == families.SPECIAL.index(PLACEHOLDERS[family])).sum(1).tolist()
    # LLaVA reads 56 x 56 pixels in squares of 14, Gemma puts four such together.
    assert counts == {"gemma3": [4, 4], "llava": [16, 16]}


def test_no_special_token_is_sampled_but_those_that_end_a_turn(fixed_size_vlm):
    """The generation config and the template end a turn by <end_of_turn>, the tokenizer by </s>."""
    model = tiny.load(fixed_size_vlm)
    allowed = set((~model.forbidden_V).nonzero().flatten().tolist())
    ends = {families.SPECIAL.index("</s>"), families.END}
    assert model.end_tokens.tolist() == sorted(ends)
    assert allowed == ends | set(range(len(families.SPECIAL), len(families.SPECIAL) + 256))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_gradients_through_the_shared_prompt_are_those_of_a_plain_forward_pass(tmp_path, family, checkpointing):
    model = tiny.load(SAVE[family](tmp_path))
    tokens = torch.tensor([[40, 50, 60, 70], [80, 90, 100, 110]])  # two completions of one prompt

    def gradients(logprobs):
        model.network.zero_grad()
        logprobs.sum().backward()
        return {
            name: weight.grad.clone() for name, weight in model.network.named_parameters() if weight.grad is not None
        }

    with recomputing(model.network, checkpointing):
        prefix = encode_prompts(model, build_prompts(model, INPUTS[1:])).expand(torch.tensor([0, 0]))
        shared = gradients(completion_logprobs(model, prefix, tokens, 1.0))
    rows = [
        families.plain_logits(model, INPUTS[1], row[None]).log_softmax(-1).gather(-1, row[:, None]) for row in tokens
    ]
    plain = gradients(torch.cat(rows))
    assert shared.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(shared[name], gradient, atol=1e-3, rtol=1e-3, msg=name)


def test_logprobs_at_sampling_are_those_of_scoring(vlm):
    policy = load_players(tiny.settings(vlm), ["base"])["base"]
    seeds = [list(range(8)), list(range(8, 16))]
    rows = policy.sample_rows(INPUTS, seeds, temperature=1.5, max_new_tokens=16)
    completions = policy.sample(INPUTS, seeds, temperature=1.5, max_new_tokens=16)
    scored = [row for group in policy.logprobs(INPUTS, completions, temperature=1.5) for row in group]
    assert len({len(row) for row in scored}) > 1  # some end early and are left out of the batch
    for padded, row in zip(rows.logprobs_BT.tolist(), scored, strict=True):
        assert padded[: len(row)] == pytest.approx(row, abs=1e-4)


def test_only_the_language_model_gets_adapters(vlm):
    policy = load_players(tiny.settings(vlm), ["base"])["base"]
    assert policy.tuning.parameters
    assert not [name for name in policy.tuning.parameters if "vision" in name or "projector" in name]


def test_edges_are_not_taken_for_areas(fixed_size_vlm):
    with pytest.raises(SettingsError, match="has no such limit"):
        limit_pixels(tiny.load(fixed_size_vlm).processor, 784, fixed_size_vlm)


def test_a_family_without_linear_layers_asks_for_full_tuning(tmp_path):
    with pytest.raises(SettingsError, match="a gpt2 model has no linear layers to adapt; set models.tuning = 'full'"):
        load_players(tiny.settings(families.save_gpt2(tmp_path)), ["adversary"])
