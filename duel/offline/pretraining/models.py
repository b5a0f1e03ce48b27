"""Configurations, image processors and folders of the two small models shipped with the package."""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    BitImageProcessorPil,
    Dinov2Config,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2VLImageProcessorPil,
)

# Pixel normalisation of CLIP (Radford et al. 2021), which Qwen2.5-VL uses too.
PIXEL_MEAN = [0.48145466, 0.4578275, 0.40821073]
PIXEL_DEVIATION = [0.26862954, 0.26130258, 0.27577711]

WEIGHTS = Path(__file__).parent.parent / "weights"
VLM_FOLDER = WEIGHTS / "vlm"
EMBEDDER_FOLDER = WEIGHTS / "embedder"

PATCH = 14
VLM_SIDE = 168  # pixels: 12 x 12 patches, merged to 36 image tokens
IMAGE_TOKENS = (VLM_SIDE // PATCH // 2) ** 2
EMBEDDER_SIDE = 112  # pixels: 8 x 8 patches


def vlm_config(tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLConfig:
    """Return the small VLM's config: Qwen2.5-VL's architecture, with full attention in all vision layers."""
    token: Any = tokenizer.convert_tokens_to_ids
    special: Any = {
        "pad_token_id": token("<|endoftext|>"),
        "bos_token_id": token("<|im_start|>"),
        "eos_token_id": token("<|im_end|>"),
    }
    text = {
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e4},
    }
    vision = {
        "depth": 5,
        "hidden_size": 192,
        "num_heads": 6,
        "intermediate_size": 512,
        "out_hidden_size": 192,
        "patch_size": PATCH,
        "window_size": 112,
        "fullatt_block_indexes": [0, 1, 2, 3, 4],
    }
    return Qwen2_5_VLConfig(
        text_config=text | special,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
        **special,
    )


def vlm_image_processor() -> Qwen2VLImageProcessorPil:
    """Return the VLM's image processor; it resizes square images to VLM_SIDE x VLM_SIDE."""
    return Qwen2VLImageProcessorPil(
        min_pixels=VLM_SIDE**2, max_pixels=VLM_SIDE**2, image_mean=PIXEL_MEAN, image_std=PIXEL_DEVIATION
    )


def embedder_config() -> Dinov2Config:
    """Return the small embedder's config: DINOv2's architecture."""
    return Dinov2Config(
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=6,
        mlp_ratio=4,
        patch_size=PATCH,
        image_size=EMBEDDER_SIDE,
    )


def embedder_image_processor() -> BitImageProcessorPil:
    """Return the embedder's image processor, without cropping; images must be padded to squares first."""
    return BitImageProcessorPil(
        do_resize=True,
        size={"height": EMBEDDER_SIDE, "width": EMBEDDER_SIDE},
        do_center_crop=False,
        image_mean=PIXEL_MEAN,
        image_std=PIXEL_DEVIATION,
    )


@lru_cache(maxsize=2)
def pixel_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return both processors' channel means and standard deviations, `(3,)` each."""
    return torch.tensor(PIXEL_MEAN, device=device), torch.tensor(PIXEL_DEVIATION, device=device)


def save_half(model: Any, folder: Path) -> None:
    """Save a model's weights in fp16; the config says float32, the dtype to load and run it in."""
    copy.deepcopy(model).half().cpu().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    for section in (config, config.get("text_config", {}), config.get("vision_config", {})):
        if "dtype" in section:
            section["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
