"""The table of families in docs/models.md: a test per cell, and the table says what the tests expect."""

import re
from pathlib import Path

import pytest
import torch

from duel.errors import SettingsError
from duel.policies.cuda_graph import has_full_attention, sample_rows_static
from duel.policies.inputs import build_prompts
from duel.policies.load import load_players
from duel.policies.prefix import encode_prompts
from duel.policies.sampling import draw_uniforms, sample_rows
from duel.types import ModelInput
from tests.support import families, tiny

DOCUMENT = Path(__file__).parents[3] / "docs" / "models.md"
ABILITIES = ["loads", "sampled = scored", "LoRA", "full", "static decode", "loads outside"]
WINDOW = "windows keep their own cache"  # the slower loop decodes it
NO_LINEAR = "has no linear layers to adapt"
# family as in the document: (saved by, sees images, what it lacks)
FAMILIES = {
    "Qwen2.5-VL": (tiny.save_vlm, True, {}),
    "Qwen3-VL": (families.save_qwen3_vl, True, {}),
    "Qwen3.5": (families.save_qwen3_5, True, {}),
    "Gemma 3": (families.save_gemma3, True, {"static decode"}),
    "LLaVA": (families.save_llava, True, {}),
    "Qwen2": (tiny.save_lm, False, {}),
    "GPT-NeoX": (families.save_neox, False, {}),
    "LFM2": (families.save_lfm2, False, {}),
    "GPT-2": (families.save_gpt2, False, {"LoRA"}),
}
KNOWN = pytest.mark.parametrize("family", FAMILIES)


def load(folder, family, tuning="lora"):
    """Return the player of a family, and two inputs that it can read."""
    save, sees, _ = FAMILIES[family]
    name = save(folder)
    player = "base" if sees else "adversary"
    policy = load_players(tiny.settings(name, models={"tuning": tuning}), [player])[player]
    images = (tiny.picture("red"), tiny.picture("blue", (112, 56))) if sees else (None, None)
    return policy, [ModelInput(text, image) for text, image in zip(("hello", "what is it?"), images, strict=True)]


def learn(folder, family, tuning):
    """Update a family's player once; return the policy, its inputs and log-probabilities before and after."""
    policy, inputs = load(folder, family, tuning)
    rows = policy.sample(inputs, [[1, 2, 3, 4], [5, 6, 7, 8]], temperature=0.9, max_new_tokens=8)
    before = policy.logprobs(inputs, rows, temperature=0.9)
    report = policy.learn(inputs, [tiny.group(row, [0.1, 0.4, None, 0.9]) for row in rows])
    assert report.gradient_norm > 0
    return policy, inputs, rows, before, policy.logprobs(inputs, rows, temperature=0.9)


def plain_logprobs(model, given, tokens):
    """Return the log-probabilities of a completion's tokens at temperature 0.9 by one forward pass without a cache."""
    prompt = build_prompts(model, [given])
    extra = dict(prompt.images)
    if "mm_token_type_ids" in extra:
        extra["mm_token_type_ids"] = torch.nn.functional.pad(extra["mm_token_type_ids"], (0, len(tokens)))
    whole = torch.cat([prompt.input_ids_IP, torch.tensor([tokens])], 1)
    with torch.no_grad():
        logits = model.network(whole, use_cache=False, **extra).logits[0, prompt.input_ids_IP.shape[1] - 1 : -1]
    logprobs = (logits.masked_fill(model.forbidden_V, -torch.inf) / 0.9).log_softmax(-1)
    return logprobs.gather(-1, torch.tensor(tokens)[:, None]).squeeze(-1).tolist()


@KNOWN
def test_loads(tmp_path, family):
    _, _, lacks = FAMILIES[family]
    policy, inputs = load(tmp_path, family, "full" if "LoRA" in lacks else "lora")
    [first, second] = policy.sample(inputs, [[1, 2], [3, 4]], temperature=0.9, max_new_tokens=8)
    assert len({completion.text for completion in (*first, *second)}) > 1


@KNOWN
def test_sampled_are_scored(tmp_path, family):
    """Also equal to those of one plain forward pass."""
    policy, inputs = load(tmp_path, family, "full" if "LoRA" in FAMILIES[family][2] else "lora")
    seeds = [[1, 2, 3], [4, 5, 6]]
    sampled = policy.sample_rows(inputs, seeds, temperature=0.9, max_new_tokens=8).logprobs_BT.tolist()
    completions = policy.sample(inputs, seeds, temperature=0.9, max_new_tokens=8)
    scored = policy.logprobs(inputs, completions, temperature=0.9)
    for place, (given, group, scores) in enumerate(zip(inputs, completions, scored, strict=True)):
        for index, (completion, row) in enumerate(zip(group, scores, strict=True)):
            assert sampled[3 * place + index][: len(row)] == pytest.approx(row, abs=1e-4)
            assert plain_logprobs(policy.model, given, list(completion.tokens)) == pytest.approx(row, abs=1e-4)


@KNOWN
@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_learns(tmp_path, family, tuning):
    if tuning == "lora" and "LoRA" in FAMILIES[family][2]:
        with pytest.raises(SettingsError, match=NO_LINEAR):
            load(tmp_path, family, tuning)
        return
    policy, inputs, rows, before, after = learn(tmp_path, family, tuning)
    assert after != before
    policy.save(tmp_path / "saved")
    again, _ = load(tmp_path / "again", family, tuning)
    again.load(tmp_path / "saved")
    assert again.logprobs(inputs, rows, temperature=0.9) == after


@KNOWN
def test_static_decode(tmp_path, family):
    policy, inputs = load(tmp_path, family, "full" if "LoRA" in FAMILIES[family][2] else "lora")
    model = policy.model
    if "static decode" in FAMILIES[family][2]:
        assert not has_full_attention(model)
        return
    assert has_full_attention(model)
    prefix = encode_prompts(model, build_prompts(model, inputs)).expand(torch.tensor([0, 0, 1]))
    uniforms = draw_uniforms([1, 2, 3], 12)
    static, _ = sample_rows_static(None, model, prefix, uniforms, 0.9)
    assert static.tokens_BT.tolist() == sample_rows(model, prefix, uniforms, 0.9).tokens_BT.tolist()


def test_the_document_says_what_the_tests_expect():
    rows = dict(re.findall(r"^\| ([\w. -]+?)(?:, text only)? \| ((?:(?:yes|no)[^|]*\| )+)", DOCUMENT.read_text(), re.M))
    assert rows.keys() == FAMILIES.keys()
    for family, cells in rows.items():
        said = [cell.split()[0] for cell in cells.split("|")[: len(ABILITIES)]]
        lacks = FAMILIES[family][2]
        assert said == ["no" if ability in lacks else "yes" for ability in ABILITIES], family
