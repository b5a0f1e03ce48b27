import functools

import pytest
from transformers import (
    FalconH1Config,
    FalconH1ForCausalLM,
    Qwen2ForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)

from duel.errors import SettingsError
from duel.policies.consistency import check_continuation
from duel.policies.load import load_players
from tests.support import families, tiny


class Forgetful(Qwen2ForCausalLM):
    """Its logits depend on how many tokens a forward pass reads, which no cache holds."""

    @functools.wraps(Qwen2ForCausalLM.forward)
    def forward(self, input_ids, **options):
        output = super().forward(input_ids=input_ids, **options)
        output.logits = output.logits * input_ids.shape[1]
        return output


def falcon_h1():
    mamba = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
    return FalconH1ForCausalLM(FalconH1Config(**families.TEXT | mamba))


def recurrent_gemma():
    sizes = {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 16}
    return RecurrentGemmaForCausalLM(RecurrentGemmaConfig(**families.TEXT | sizes))


def test_a_model_whose_logits_depend_on_more_than_its_cache_is_refused(tmp_path):
    folder = tiny.save_lm(tmp_path)
    model = tiny.load(folder)
    check_continuation(model, folder)
    model.network.__class__ = Forgetful
    with pytest.raises(
        SettingsError, match=r"\(qwen2\) gives other logits from a cached prompt .* expected at most 0.001"
    ):
        check_continuation(model, folder)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (falcon_h1, "a layer of this falcon_h1 model keeps keys, values and states at once"),
        (recurrent_gemma, r"\(recurrent_gemma\) cannot be continued from a cached prompt: "),
    ],
)
def test_a_family_that_the_cache_does_not_serve_is_refused_in_one_line(tmp_path, build, reason):
    folder = families.save(build, families.tokenizer("<image>"), tmp_path)
    with pytest.raises(SettingsError, match=reason) as raised:
        load_players(tiny.settings(folder), ["adversary"])
    assert "\n" not in str(raised.value)
