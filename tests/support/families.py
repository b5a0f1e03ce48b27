"""Tiny models of families other than Qwen, with random weights, saved like real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from duel.policies.inputs import build_prompts
from duel.policies.models import Model
from duel.types import ModelInput, Player
from tests.support import tiny
from tests.support.tiny import seeded

SPECIAL = [
    "<pad>",
    "<s>",
    "</s>",
    "<image>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
    "<end_of_turn>",
]
GEMMA = {"boi_token": "start_of_image", "eoi_token": "end_of_image", "image_token": "image_soft_token"}
END = SPECIAL.index("<end_of_turn>")
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 288,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "bos_token_id": SPECIAL.index("<s>"),
    "pad_token_id": SPECIAL.index("<pad>"),
    "eos_token_id": SPECIAL.index("</s>"),
}
QWEN_TOKENS = {
    "image_token_id": tiny.SPECIAL.index("<|image_pad|>"),
    "video_token_id": tiny.SPECIAL.index("<|video_pad|>"),
    "vision_start_token_id": tiny.SPECIAL.index("<|vision_start|>"),
    "vision_end_token_id": tiny.SPECIAL.index("<|vision_end|>"),
}
QWEN3 = {
    **TEXT,
    "vocab_size": 272,
    "head_dim": 16,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_interleaved": True},
    "bos_token_id": tiny.SPECIAL.index("<|im_start|>"),
    "pad_token_id": tiny.SPECIAL.index("<|endoftext|>"),
    "eos_token_id": tiny.SPECIAL.index("<|im_end|>"),
}
QWEN3_VISION = {
    "depth": 2,
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 32,
    "out_hidden_size": 32,
    "patch_size": 16,
    "num_position_embeddings": 64,
}
VISION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def chat_template(image: str) -> str:
    """A chat template with the placeholder `image` for each image."""
    return (
        "<s>{% for message in messages %}{{ message['role'] | capitalize }}: "
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
        "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
    )


def tokenizer(image: str, names: dict[str, str] | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per byte, and special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*SPECIAL, *alphabet])}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=chat_template(image),
        extra_special_tokens=names or {},
    )


def save_gemma3(folder: Path) -> str:
    """Gemma 3: bidirectional attention among image tokens, a window of 16 in every other layer, 4 tokens an image."""
    config = Gemma3Config(
        text_config={
            **TEXT,
            "head_dim": 16,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        vision_config={**VISION, "image_size": 56, "patch_size": 14},
        mm_tokens_per_image=4,
        boi_token_index=SPECIAL.index("<start_of_image>"),
        eoi_token_index=SPECIAL.index("<end_of_image>"),
        image_token_index=SPECIAL.index("<image_soft_token>"),
        tie_word_embeddings=False,
    )
    images = Gemma3ImageProcessorPil(size={"height": 56, "width": 56})
    names = {name: f"<{word}>" for name, word in GEMMA.items()}
    processor = Gemma3Processor(
        images,
        tokenizer("<start_of_image>", names),
        image_seq_length=4,
        chat_template=chat_template("<start_of_image>"),
    )
    return save(lambda: Gemma3ForConditionalGeneration(config), processor, folder)


def save_llava(folder: Path) -> str:
    """LLaVA: Llama with CLIP, 16 tokens per image; their number is only in the processor's config."""
    config = LlavaConfig(
        text_config={"model_type": "llama", **TEXT},
        vision_config={"model_type": "clip_vision_model", **VISION, "image_size": 56, "patch_size": 14},
        image_token_index=SPECIAL.index("<image>"),
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    processor = LlavaProcessor(
        images,
        tokenizer("<image>"),
        patch_size=14,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=chat_template("<image>"),
    )
    return save(lambda: LlavaForConditionalGeneration(config), processor, folder)


def save_qwen3_vl(folder: Path) -> str:
    """Qwen3-VL: image features are added in the first layers, too; interleaved multimodal RoPE."""
    config = Qwen3VLConfig(
        text_config={**QWEN3, "rope_parameters": {**QWEN3["rope_parameters"], "mrope_section": [4, 2, 2]}},
        vision_config={**QWEN3_VISION, "deepstack_visual_indexes": [0]},
        **QWEN_TOKENS,
    )
    return save_qwen(lambda: Qwen3VLForConditionalGeneration(config), folder)


def save_qwen3_5(folder: Path) -> str:
    """Qwen3.5: three layers of gated linear attention and a convolution to each layer of full attention."""
    text = {
        **QWEN3,
        "num_hidden_layers": 4,
        "rope_parameters": {**QWEN3["rope_parameters"], "partial_rotary_factor": 0.5, "mrope_section": [2, 1, 1]},
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    }
    config = Qwen3_5Config(text_config=text, vision_config=QWEN3_VISION, **QWEN_TOKENS)
    return save_qwen(lambda: Qwen3_5ForConditionalGeneration(config), folder)


def save_qwen(build: Callable[[], PreTrainedModel], folder: Path) -> str:
    """Save a network with the tokenizer of `tiny` and an image processor for patches of 16 pixels."""
    seeded(build, seed=0, end=tiny.SPECIAL.index("<|im_end|>")).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    Qwen2VLImageProcessorPil(min_pixels=32 * 32, max_pixels=96 * 96, patch_size=16).save_pretrained(folder)
    return str(folder)


def save_lfm2(folder: Path) -> str:
    """LFM2, text only: short convolutions, whose state is their last inputs, and layers of full attention."""
    config = Lfm2Config(**TEXT, layer_types=["conv", "full_attention"])
    return save(lambda: Lfm2ForCausalLM(config), tokenizer("<image>"), folder)


def save_neox(folder: Path) -> str:
    """GPT-NeoX (Pythia), text only: fused query-key-value projection, rotary embedding on half of each head."""
    config = GPTNeoXConfig(**{**TEXT, "rotary_pct": 0.5, "tie_word_embeddings": False})
    return save(lambda: GPTNeoXForCausalLM(config), tokenizer("<image>"), folder)


def save_gpt2(folder: Path) -> str:
    """GPT-2, text only: learned positions, and Conv1D in place of linear layers."""
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=288, n_positions=128, initializer_range=0.2)
    return save(lambda: GPT2LMHeadModel(config), tokenizer("<image>"), folder)


def save(build, processor, folder: Path) -> str:
    """Save a network with its processor or tokenizer; return the folder's name."""
    network: PreTrainedModel = seeded(build, seed=0, end=END)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def plain_logits(model: Model, given: ModelInput, tokens: torch.Tensor) -> torch.Tensor:
    """The logits of a completion's tokens (1, T), as (T, V), from one forward pass without a cache."""
    prompt = build_prompts(model, [given])
    extra = dict(prompt.images)
    if "mm_token_type_ids" in extra:
        extra["mm_token_type_ids"] = torch.nn.functional.pad(extra["mm_token_type_ids"], (0, tokens.shape[1]))
    logits = model.network(torch.cat([prompt.input_ids_IP, tokens], 1), use_cache=False, **extra).logits[0]
    return logits[prompt.input_ids_IP.shape[1] - 1 : -1].masked_fill(model.forbidden_V, -torch.inf)


@dataclass(frozen=True)
class Family:
    """A row of the table in docs/models.md."""

    save: Callable[[Path], str]
    player: Player = "base"  # the adversary's models see no images
    lacks: frozenset[str] = field(default=frozenset())  # columns of the table

    @property
    def tunings(self) -> list[str]:
        """What models.tuning can be."""
        return ["full"] if "LoRA" in self.lacks else ["lora", "full"]


TABLE = {
    "Qwen2.5-VL": Family(tiny.save_vlm),
    "Qwen3-VL": Family(save_qwen3_vl),
    "Qwen3.5": Family(save_qwen3_5),
    "Gemma 3": Family(save_gemma3, lacks=frozenset({"static decode"})),  # a sliding window
    "LLaVA": Family(save_llava),
    "Qwen2": Family(tiny.save_lm, "adversary"),
    "GPT-NeoX": Family(save_neox, "adversary"),
    "LFM2": Family(save_lfm2, "adversary"),
    "GPT-2": Family(save_gpt2, "adversary", frozenset({"LoRA"})),  # no linear layers
}
