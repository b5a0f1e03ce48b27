"""End tokens, pad token, chat templates and processors that differ between the files of a model."""

from dataclasses import replace

import pytest
import torch

from duel.errors import SettingsError
from duel.policies.inputs import build_prompts
from duel.policies.models import assemble
from duel.policies.tokens import end_tokens
from duel.types import ModelInput
from tests.support import tiny

END, TEXT_END = (tiny.SPECIAL.index(name) for name in ("<|im_end|>", "<|endoftext|>"))
ASK = [ModelInput("hello", tiny.picture("red")), ModelInput("what is it?", tiny.picture("blue"))]


def parts(folder):
    model = tiny.load(folder)
    return model.network, model.tokenizer, model.processor


@pytest.mark.parametrize(
    ("config", "tokenizer", "expected"),
    [
        (TEXT_END, "<|im_end|>", [TEXT_END, END]),
        ([TEXT_END, END], "<|im_end|>", [TEXT_END, END]),
        (TEXT_END, "<|endoftext|>", [TEXT_END, END]),  # the template's <|im_end|> alone ends a turn
        (None, None, [END]),
    ],
)
def test_every_token_that_some_file_names_ends_a_turn(tmp_path, config, tokenizer, expected):
    network, words, _ = parts(tiny.save_lm(tmp_path))
    network.generation_config.eos_token_id = config
    words.eos_token = tokenizer
    assert end_tokens(network, words, {}) == expected
    model = assemble(network, words, None, torch.float32)
    assert not model.forbidden_V[expected].any()


def test_a_model_that_names_no_end_is_refused(tmp_path):
    network, words, _ = parts(tiny.save_lm(tmp_path))
    network.generation_config.eos_token_id = words.eos_token = None
    words.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(SettingsError, match="names no end-of-turn token"):
        end_tokens(network, words, {})


def test_prompts_with_images_are_padded_by_a_tokenizer_without_a_pad_token(tmp_path):
    network, words, processor = parts(tiny.save_vlm(tmp_path))
    expected = build_prompts(assemble(network, words, processor, torch.float32), ASK)
    words.pad_token = None
    found = build_prompts(assemble(network, words, processor, torch.float32), ASK)
    mask = found.attention_mask_IP.bool()
    assert not mask.all()
    assert torch.equal(found.attention_mask_IP, expected.attention_mask_IP)
    assert torch.equal(found.input_ids_IP[mask], expected.input_ids_IP[mask])


@pytest.mark.parametrize("holder", ["tokenizer", "processor"])
def test_one_chat_template_serves_prompts_with_and_without_images(tmp_path, holder):
    network, words, processor = parts(tiny.save_vlm(tmp_path))
    words.chat_template = tiny.CHAT_TEMPLATE if holder == "tokenizer" else None
    processor.chat_template = tiny.CHAT_TEMPLATE if holder == "processor" else None
    model = assemble(network, words, processor, torch.float32)
    assert build_prompts(model, ASK).images
    assert not build_prompts(model, [ModelInput("hello")]).images


def test_what_a_processor_returns_beyond_the_models_arguments_is_left_out(tmp_path):
    model = tiny.load(tiny.save_vlm(tmp_path))

    class Counting(type(model.processor)):
        def __call__(self, **options):
            return dict(super().__call__(**options)) | {"num_crops": [1, 1], "image_sizes": torch.zeros(2, 2)}

    model.processor.__class__ = Counting
    assert sorted(build_prompts(model, ASK).images) == ["image_grid_thw", "mm_token_type_ids", "pixel_values"]


def test_template_options_reach_the_template(tmp_path):
    model = tiny.load(tiny.save_lm(tmp_path))
    model.tokenizer.chat_template = "{{ messages[0]['content'] }}{% if loud %}!{% endif %}"
    plain, loud = model, replace(model, template_options={"loud": True})
    lengths = [build_prompts(given, [ModelInput("hello")]).input_ids_IP.shape[1] for given in (plain, loud)]
    assert lengths == [5, 6]
