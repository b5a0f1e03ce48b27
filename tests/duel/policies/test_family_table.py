"""The table of families in docs/models.md: a test per cell, and the table says what the tests expect.

The column "loads outside" is tested by test_saved_outside.py.
"""

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
COLUMNS = ("loads", "sampled = scored", "LoRA", "full", "static decode", "loads outside")
SEEDS = [[1, 2, 3, 4], [5, 6, 7, 8]]
EVERY = pytest.mark.parametrize("family", families.TABLE.values(), ids=families.TABLE)
TUNED = [
    pytest.param(family, tuning, id=f"{name}-{tuning}")
    for name, family in families.TABLE.items()
    for tuning in family.tunings
]


def load(folder, family, tuning, token=""):
    """Return the policy of a saved model of a family."""
    settings = tiny.settings(str(folder), models={"tuning": tuning})
    return load_players(settings, [family.player], token)[family.player]


def inputs_of(family):
    """Return two inputs that a family can read, with images of unlike shapes if it sees any."""
    images = (tiny.picture("red"), tiny.picture("blue", (112, 56))) if family.player == "base" else (None, None)
    return [ModelInput(text, image) for text, image in zip(("hello", "what is it?"), images, strict=True)]


@EVERY
def test_loads(tmp_path, family):
    policy = load(family.save(tmp_path), family, family.tunings[0])
    rows = policy.sample(inputs_of(family), SEEDS, temperature=0.9, max_new_tokens=8)
    assert all(len({completion.text for completion in row}) > 1 for row in rows)


@EVERY
def test_sampled_log_probabilities_are_the_scored_ones_and_those_of_a_plain_forward_pass(tmp_path, family):
    policy, inputs = load(family.save(tmp_path), family, family.tunings[0]), inputs_of(family)
    sampled = policy.sample_rows(inputs, SEEDS, temperature=0.9, max_new_tokens=8).logprobs_BT.tolist()
    completions = policy.sample(inputs, SEEDS, temperature=0.9, max_new_tokens=8)
    scored = policy.logprobs(inputs, completions, temperature=0.9)
    for place, (given, group, scores) in enumerate(zip(inputs, completions, scored, strict=True)):
        for index, (completion, row) in enumerate(zip(group, scores, strict=True)):
            tokens = torch.tensor([completion.tokens])
            with torch.no_grad():
                logprobs = torch.log_softmax(families.plain_logits(policy.model, given, tokens) / 0.9, -1)
            assert sampled[4 * place + index][: len(row)] == pytest.approx(row, abs=1e-4)
            assert row == pytest.approx(logprobs.gather(-1, tokens.T).squeeze(-1).tolist(), abs=1e-4)


@pytest.mark.parametrize(("family", "tuning"), TUNED)
def test_it_learns_and_its_weights_are_saved_and_loaded(tmp_path, family, tuning):
    folder, inputs = family.save(tmp_path / "model"), inputs_of(family)
    policy = load(folder, family, tuning, "hf_secret")
    sampled = policy.sample(inputs, SEEDS, temperature=0.9, max_new_tokens=8)
    before = policy.logprobs(inputs, sampled, temperature=0.9)
    report = policy.learn(inputs, [tiny.group(row, [0.1, 0.4, None, 0.9]) for row in sampled])
    assert report.gradient_norm > 0
    after = policy.logprobs(inputs, sampled, temperature=0.9)
    assert after != before

    policy.save(tmp_path / "saved")
    assert all(b"hf_secret" not in path.read_bytes() for path in (tmp_path / "saved").iterdir())
    again = load(folder, family, tuning)
    again.load(tmp_path / "saved")
    assert again.logprobs(inputs, sampled, temperature=0.9) == after
    if tuning == "full":  # the folder is a model of its own, processor or tokenizer included
        alone = load(tmp_path / "saved", family, tuning)
        assert alone.logprobs(inputs, sampled, temperature=0.9) == after


@EVERY
def test_what_cannot_be_tuned_is_refused(tmp_path, family):
    folder = family.save(tmp_path)
    for tuning in {"lora", "full"} - set(family.tunings):
        with pytest.raises(SettingsError, match="has no linear layers to adapt"):
            load(folder, family, tuning)


@EVERY
def test_static_buffers_serve_models_without_a_window(tmp_path, family):
    model = tiny.load(family.save(tmp_path))
    assert has_full_attention(model) == ("static decode" not in family.lacks)
    if not has_full_attention(model):
        return
    prefix = encode_prompts(model, build_prompts(model, inputs_of(family))).expand(torch.tensor([0, 0, 1]))
    uniforms = draw_uniforms([1, 2, 3], 12)
    static, decoder = sample_rows_static(None, model, prefix, uniforms, 0.9)
    expected = sample_rows(model, prefix, uniforms, 0.9).tokens_BT.tolist()
    assert static.tokens_BT.tolist() == expected
    again, same = sample_rows_static(decoder, model, prefix, uniforms, 0.9)
    assert same is decoder
    assert again.tokens_BT.tolist() == expected


def test_the_document_says_what_the_tests_expect():
    table = DOCUMENT.read_text().split("## Tested families")[1].split("| --- |")[0].splitlines()[-1]
    assert tuple(cell.strip() for cell in table.split("|")[2 : 2 + len(COLUMNS)]) == COLUMNS
    rows = dict(re.findall(r"^\| ([\w. -]+?)(?:, text only)? \| ((?:(?:yes|no) \| )+)", DOCUMENT.read_text(), re.M))
    expected = {
        name: ["no" if column in family.lacks else "yes" for column in COLUMNS]
        for name, family in families.TABLE.items()
    }
    assert {name: cells.split(" | ")[: len(COLUMNS)] for name, cells in rows.items()} == expected
