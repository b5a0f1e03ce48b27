"""Models with the shapes of published ones and random weights; on the CPU tiny ones of the same families."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from duel.policies.models import Model, assemble, load_processor
from tests.support import tiny


def build_model(device: torch.device, name: str = "qwen2.5-vl-3b") -> Model:
    """Return a model with random weights and without end token, so that all completions have full length.

    It is in bfloat16 on CUDA, and tiny and in fp32 elsewhere. `name` is one of SHAPES.
    """
    large = device.type == "cuda"
    dtype = torch.bfloat16 if large else torch.float32
    shape, build, patch = SHAPES[name]
    tokenizer = tiny.tokenizer()
    config = shape(special_tokens(tokenizer), large)
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with device:
        network: PreTrainedModel = build(config)
    torch.set_default_dtype(torch.float32)
    network.generation_config.eos_token_id = tokenizer.eos_token_id
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        area = (2 * patch) ** 2
        Qwen2VLImageProcessorPil(min_pixels=area, max_pixels=1280 * area, patch_size=patch).save_pretrained(folder)
        processor = load_processor(folder, type(config), tokenizer)
    model = assemble(network.eval(), tokenizer, processor, dtype)
    model.forbidden_V[tokenizer.eos_token_id] = True
    model.forbidden_V[len(tokenizer) :] = False  # allow the whole vocabulary, as large as the real tokenizer's
    return model


def special_tokens(tokenizer: Any) -> dict[str, int]:
    """Return the ids of a Qwen tokenizer's special tokens, by their names in a config."""
    token = tokenizer.convert_tokens_to_ids
    return {
        "image_token_id": token("<|image_pad|>"),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
        "bos_token_id": token("<|im_start|>"),
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": 0,
    }


def qwen2_5_vl_3b(tokens: dict[str, int], large: bool) -> Qwen2_5_VLConfig:
    """Return the config of Qwen2.5-VL-3B, or a tiny one."""
    text = {
        "hidden_size": 2048 if large else 192,
        "intermediate_size": 11008 if large else 512,
        "num_hidden_layers": 36 if large else 4,
        "num_attention_heads": 16 if large else 6,
        "num_key_value_heads": 2,
        "vocab_size": 151936 if large else 1200,
        "tie_word_embeddings": True,
        "max_position_embeddings": 32768,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [16, 24, 24] if large else [4, 6, 6],
            "rope_theta": 1e6,
        },
        **tokens,
    }
    vision = {
        "depth": 32 if large else 4,
        "hidden_size": 1280 if large else 192,
        "num_heads": 16 if large else 6,
        "intermediate_size": 3420 if large else 512,
        "out_hidden_size": text["hidden_size"],
        "patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31] if large else [0, 1, 2, 3],
    }
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **tokens)


def qwen3_vl_2b(tokens: dict[str, int], large: bool) -> Qwen3VLConfig:
    """Return the config of Qwen3-VL-2B, the smallest of its family, or a tiny one."""
    text = {
        "hidden_size": 2048 if large else 128,
        "intermediate_size": 6144 if large else 256,
        "num_hidden_layers": 28 if large else 4,
        "num_attention_heads": 16 if large else 4,
        "num_key_value_heads": 8 if large else 2,
        "head_dim": 128 if large else 32,
        "vocab_size": 151936 if large else 1200,
        "tie_word_embeddings": True,
        "max_position_embeddings": 32768,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [24, 20, 20] if large else [6, 5, 5],
            "mrope_interleaved": True,
            "rope_theta": 5e6,
        },
        **tokens,
    }
    vision = {
        "depth": 24 if large else 3,
        "hidden_size": 1024 if large else 64,
        "num_heads": 16 if large else 4,
        "intermediate_size": 4096 if large else 128,
        "out_hidden_size": text["hidden_size"],
        "patch_size": 16,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [5, 11, 17] if large else [0, 1],
    }
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **tokens)


def qwen3_5_0_8b(tokens: dict[str, int], large: bool) -> Qwen3_5Config:
    """Return the config of Qwen3.5-0.8B, the smallest of its family, or a tiny one."""
    text = {
        "hidden_size": 1024 if large else 128,
        "intermediate_size": 3584 if large else 256,
        "num_hidden_layers": 24 if large else 4,
        "num_attention_heads": 8 if large else 4,
        "num_key_value_heads": 2,
        "head_dim": 256 if large else 32,
        "linear_num_key_heads": 16 if large else 2,
        "linear_num_value_heads": 16 if large else 4,
        "linear_key_head_dim": 128 if large else 16,
        "linear_value_head_dim": 128 if large else 16,
        "vocab_size": 248320 if large else 1200,
        "tie_word_embeddings": True,
        "max_position_embeddings": 32768,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [11, 11, 10] if large else [2, 1, 1],
            "mrope_interleaved": True,
            "partial_rotary_factor": 0.25,
            "rope_theta": 1e7,
        },
        **tokens,
    }
    vision = {
        "depth": 12 if large else 2,
        "hidden_size": 768 if large else 64,
        "num_heads": 12 if large else 4,
        "intermediate_size": 3072 if large else 128,
        "out_hidden_size": text["hidden_size"],
        "patch_size": 16,
        "num_position_embeddings": 2304,
    }
    return Qwen3_5Config(text_config=text, vision_config=vision, tie_word_embeddings=True, **tokens)


# name: (config of the special tokens' ids and of whether it is the published shape, network of a config, patch size)
SHAPES: dict[str, tuple[Callable[[dict[str, int], bool], PreTrainedConfig], Callable[[Any], Any], int]] = {
    "qwen2.5-vl-3b": (qwen2_5_vl_3b, Qwen2_5_VLForConditionalGeneration, 14),
    "qwen3-vl-2b": (qwen3_vl_2b, Qwen3VLForConditionalGeneration, 16),
    "qwen3.5-0.8b": (qwen3_5_0_8b, Qwen3_5ForConditionalGeneration, 16),
}
