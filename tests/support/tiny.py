"""Tiny Qwen2.5-VL, Qwen2 and DINOv2 models with random weights, saved like real ones, and sample inputs."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BitImageProcessorPil,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLImageProcessorPil,
)

from duel.policies.models import Model, load_model
from duel.settings import Settings
from duel.settings.profile import read_settings
from duel.types import Attempt, Completion, Drawing, Group

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
SPECIAL = [*SPECIAL, "<|video_pad|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token per byte, and Qwen2.5-VL's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=SPECIAL[0], eos_token="<|im_end|>", chat_template=CHAT_TEMPLATE
    )


@functools.cache
def random_vlm(seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """A Qwen2.5-VL with two layers; its embedding is larger than the tokenizer's vocabulary."""
    ids = {token: index for index, token in enumerate(SPECIAL)}
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": 272,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
            "initializer_range": 0.2,
            "bos_token_id": ids["<|im_start|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "num_heads": 2,
            "intermediate_size": 32,
            "out_hidden_size": 32,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return seeded(lambda: Qwen2_5_VLForConditionalGeneration(config), seed, end=ids["<|im_end|>"])


@functools.cache
def random_lm(seed: int = 1) -> Qwen2ForCausalLM:
    """A text-only Qwen2 with two layers."""
    config = Qwen2Config(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=272,
        max_position_embeddings=512,
        initializer_range=0.2,
        eos_token_id=SPECIAL.index("<|im_end|>"),
    )
    return seeded(lambda: Qwen2ForCausalLM(config), seed, end=SPECIAL.index("<|im_end|>"))


def seeded(build, seed, end):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build()
    network.generation_config.eos_token_id = end
    network.generation_config.repetition_penalty = 1.5  # must not leak into sampling
    with torch.no_grad():  # so that completions end, after some 10 tokens
        network.get_output_embeddings().weight[end] *= 2
    return network


def save_vlm(folder: Path, seed: int = 0) -> str:
    """Save the VLM with tokenizer and image processor; return the folder's name."""
    random_vlm(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=84 * 84).save_pretrained(folder)
    return str(folder)


def save_lm(folder: Path, seed: int = 1) -> str:
    """Save the text-only model with tokenizer; return the folder's name."""
    random_lm(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def save_embedder(folder: Path) -> str:
    """Save a DINOv2 with two layers for 56-pixel squares; return the folder's name."""
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14, initializer_range=0.2
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(folder)
    processor = BitImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56})
    processor.save_pretrained(folder)
    return str(folder)


def settings(vlm: str, **changes: dict[str, object]) -> Settings:
    """Settings for a tiny model on the CPU; `changes` are sections, `grpo` and `optimizer` those of both players."""
    values: dict[str, dict[str, object]] = {
        "models": {"base": vlm, "device": "cpu", "lora_rank": 4},
        "sampling": {"group_size": 4, "temperature": 0.9, "max_new_tokens": 12},
        "optimizer": {"learning_rate": 0.01, "max_gradient_norm": 1.0},
        "grpo": {},
    }
    for section, fields in changes.items():
        values.setdefault(section, {}).update(fields)
    player = {"grpo": values.pop("grpo"), "optimizer": values.pop("optimizer")}
    return read_settings({"base": player, "adversary": player, **values})


def picture(colour: str = "red", size: tuple[int, int] = (56, 56)) -> bytes:
    """A PNG: a coloured frame around a white field, so that edges and centre differ."""
    image = Image.new("RGB", size, colour)
    image.paste((255, 255, 255), (8, 8, size[0] - 8, size[1] - 8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def group(completions: list[Completion], rewards: list[float | None]) -> Group:
    """Return a group with these rewards; a similarity is the reward, or 0.5 where there is none."""
    similarities = [0.5 if reward is None else reward for reward in rewards]
    pairs = zip(similarities, rewards, strict=True)
    attempts = [Attempt(Drawing("o", 0, "k"), Drawing("r", 1, "l"), similarity, reward) for similarity, reward in pairs]
    return Group(completions, attempts)


def completion(tokens: list[int]) -> Completion:
    """Return a completion of these tokens."""
    return Completion("text", " ".join(map(str, tokens)), finished=True)


def load(name: str) -> Model:
    """A saved model, in fp32 on the CPU."""
    return load_model(
        name, device=torch.device("cpu"), weights_dtype=torch.float32, compute_dtype=torch.float32, max_pixels=None
    )
