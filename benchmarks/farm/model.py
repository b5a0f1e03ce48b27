"""The frozen small VLM with the LoRA weights of many runs stacked: one batched product serves all of them.

The distribution is that of `duel.policies` (`benchmarks.farm.check` compares texts, log-probabilities and gradients).

Dimensions: A runs, N images (or instructions) of a run, K completions of each, P prompt tokens, T completion tokens,
H key heads, Q query heads of each, D head width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from benchmarks.farm.lora import LINEARS, StackedLora, find_linear
from duel.offline.pretraining.models import IMAGE_TOKENS
from duel.offline.pretraining.tokenizer import chat
from duel.offline.pretraining.vlm import GRID
from duel.policies.logprobs import log_distribution

MOST_TOKENS = 64  # of a completion in training
ANSWER_TOKENS = 8  # of a short answer; it may follow a description
Rope = tuple[Tensor, Tensor]  # cosines and sines, (T, D) each
Layers = list[dict[str, Tensor]]  # each layer's weights, (A, in, out) each
KeysValues = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Prompt:
    """A tokenized instruction."""

    tokens_P: Tensor
    image_at: int  # index of the first image token; -1: no image
    rope: Rope
    rope_after: Rope  # of the completion's tokens


@dataclass(frozen=True)
class Prefix:
    """Prompts that were read."""

    keys: list[Tensor]  # (A, N, H, P, D), one per layer
    values: list[Tensor]
    logits: Tensor  # (A, N, V) of the first completion token


@dataclass(frozen=True)
class Cache:
    """Keys and values of completions while they are sampled."""

    layers: list[KeysValues]  # (A, N, H, K, most tokens, D) each, filled up to `place`
    place: Tensor  # (1,)


class StackedModel:
    """The frozen decoder; every run brings its own adapters."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.device = device
        self.vlm: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self.vlm.to(device).eval().requires_grad_(False)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        config = self.vlm.config.text_config
        self.width, self.key_heads = config.hidden_size, config.num_key_value_heads
        self.queries_per_key = config.num_attention_heads // self.key_heads
        self.head_width = self.width // config.num_attention_heads
        self.epsilon = config.rms_norm_eps
        self.decoder = self.vlm.model.language_model
        self.embedding_VD = self.vlm.get_input_embeddings().weight
        self.end = self.tokenizer.eos_token_id
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        self.forbidden_V = torch.zeros(len(self.embedding_VD), dtype=torch.bool, device=device)
        self.forbidden_V[[token for token in special if token != self.end]] = True

    def prompt(self, instruction: str, with_image: bool) -> Prompt:
        """Tokenize an instruction, and compute the rotary embedding of its positions and of those after it."""
        ids = self.tokenizer.encode(chat(self.tokenizer, instruction, with_image))
        tokens_P = torch.tensor(ids, device=self.device)
        positions, image_at = torch.arange(len(ids), device=self.device).expand(3, 1, -1), -1
        if with_image:
            is_image = (tokens_P == self.vlm.config.image_token_id).int()
            image_at = int(is_image.argmax())
            grid = torch.tensor([[1, GRID, GRID]], device=self.device)
            rope_index = self.vlm.model.get_rope_index
            positions = rope_index(tokens_P[None], mm_token_type_ids=is_image[None], image_grid_thw=grid)[0]
        after = (int(positions.max()) + 1 + torch.arange(MOST_TOKENS + ANSWER_TOKENS, device=self.device)).expand(
            3, 1, -1
        )
        before_rope, after_rope = (self.decoder.rotary_emb(self.embedding_VD, p) for p in (positions, after))
        return Prompt(tokens_P, image_at, (before_rope[0][0], before_rope[1][0]), (after_rope[0][0], after_rope[1][0]))

    def merge(self, lora: StackedLora | None, runs: Tensor | None, count: int) -> Layers:
        """Return every layer's weights with the adapters of `runs`, (A,), folded in; None: `count` untrained runs."""
        merged = []
        for number, layer in enumerate(self.decoder.layers):
            weights: dict[str, Tensor] = {}
            for name in LINEARS:
                weight = find_linear(layer, name).weight.T[None]
                weights[name] = (
                    weight.expand(count, -1, -1) if lora is None else weight + lora.change(number, name, runs)
                )
            bias = torch.cat([find_linear(layer, name).bias for name in ("q_proj", "k_proj", "v_proj")])
            merged.append(
                {
                    "qkv": torch.cat([weights[name] for name in ("q_proj", "k_proj", "v_proj")], -1),
                    "bias": bias,
                    "o": weights["o_proj"],
                    "gate_up": torch.cat([weights["gate_proj"], weights["up_proj"]], -1),
                    "down": weights["down_proj"],
                }
            )
        return merged

    def run(
        self,
        weights: Layers,
        x: Tensor,
        rope: Rope,
        prefix: Prefix | None = None,
        cache: Cache | None = None,
        keep: list[KeysValues] | None = None,
    ) -> Tensor:
        """Return the last layer's output for tokens that attend to their prompt and to those before them.

        Args:
            weights: From `merge`.
            x: (A, N, K, T, width) embedded tokens.
            rope: Of their positions.
            prefix: Their prompts; None: these are the prompts.
            cache: Keys and values of earlier tokens of the same completions; the new ones are added.
            keep: Receives each layer's keys and values, of the first completion only, (A, N, H, T, D) each.
        """
        T = x.shape[-2]
        if cache is None:
            masked = torch.full((T, T), -torch.inf, device=x.device).triu(1).repeat(self.queries_per_key, 1)
        else:
            later_T = torch.arange(cache.layers[0][0].shape[-2], device=x.device) > cache.place
            masked = torch.zeros_like(later_T, dtype=x.dtype).masked_fill(later_T, -torch.inf)
        for number, layer in enumerate(self.decoder.layers):
            w = weights[number]
            q, k, v = self._queries_keys_values(
                multiply(self._norm(x, layer.input_layernorm), w["qkv"]) + w["bias"], rope
            )
            if keep is not None:
                keep.append((k[:, :, :, 0], v[:, :, :, 0]))
            if cache is not None:
                known_k, known_v = cache.layers[number]
                k, v = known_k.index_copy_(-2, cache.place, k), known_v.index_copy_(-2, cache.place, v)
            before = None if prefix is None else (prefix.keys[number], prefix.values[number])
            x = x + multiply(attend(q, k, v, masked, before), w["o"])
            gate, up = multiply(self._norm(x, layer.post_attention_layernorm), w["gate_up"]).chunk(2, -1)
            x = x + multiply(F.silu(gate) * up, w["down"])
        return self._norm(x, self.decoder.norm)

    def read_prompt(self, weights: Layers, prompt: Prompt, images: Tensor | None) -> Prefix:
        """Run a prompt for every run and image, (A, N, image tokens, width); None: one prompt a run, without image."""
        A = len(weights[0]["qkv"])
        x = self.embedding_VD[prompt.tokens_P]
        if images is None:
            x = x.expand(A, 1, 1, -1, -1)
        else:
            N, at = images.shape[1], prompt.image_at
            head, tail = (part.expand(A, N, -1, -1) for part in (x[:at], x[at + IMAGE_TOKENS :]))
            x = torch.cat([head, images.to(x.dtype), tail], 2)[:, :, None]
        kept: list[KeysValues] = []
        hidden = self.run(weights, x, prompt.rope, keep=kept)
        return Prefix([k for k, _ in kept], [v for _, v in kept], hidden[:, :, 0, -1] @ self.embedding_VD.T)

    def distributions(
        self, weights: Layers, prompt: Prompt, images: Tensor | None, tokens: Tensor, temperature: float
    ) -> Tensor:
        """Return the log-distributions from which the tokens, (A, N, K, T), were sampled, (A, N, K, T, V)."""
        K, T = tokens.shape[-2:]
        prefix = self.read_prompt(weights, prompt, images)
        logits = prefix.logits[:, :, None, None].expand(-1, -1, K, -1, -1)
        if T > 1:
            rope = (prompt.rope_after[0][: T - 1], prompt.rope_after[1][: T - 1])
            hidden = self.run(weights, self.embedding_VD[tokens[..., :-1]], rope, prefix)
            logits = torch.cat([logits, hidden @ self.embedding_VD.T], -2)
        return log_distribution(logits, self.forbidden_V, temperature)

    def decode(self, tokens: Tensor) -> list[str]:
        """Return the texts of (..., T) tokens up to their end, first dimensions flattened."""
        rows = tokens.flatten(0, -2).tolist()
        cut = [row[: row.index(self.end)] if self.end in row else row for row in rows]
        texts = self.tokenizer.backend_tokenizer.decode_batch(cut, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _norm(self, x: Tensor, module: Any) -> Tensor:
        return F.rms_norm(x, (self.width,), module.weight, self.epsilon)

    def _queries_keys_values(self, x: Tensor, rope: Rope) -> tuple[Tensor, Tensor, Tensor]:
        """Return (A, N, H, K, Q, T, D) queries and (A, N, H, K, T, D) keys and values."""
        A, N, K, T, _ = x.shape
        H, Q, D = self.key_heads, self.queries_per_key, self.head_width
        q, k, v = x.split([H * Q * D, H * D, H * D], -1)
        q = rotate(q.view(A, N, K, T, H, Q, D).permute(0, 1, 4, 2, 5, 3, 6), rope) * D**-0.5
        k = rotate(k.view(A, N, K, T, H, D).permute(0, 1, 4, 2, 3, 5), rope)
        return q, k, v.view(A, N, K, T, H, D).permute(0, 1, 4, 2, 3, 5)


def attend(q: Tensor, k: Tensor, v: Tensor, masked: Tensor, before: KeysValues | None) -> Tensor:
    """Return the attention's output, (A, N, K, T, width); `before`: keys and values of the prompt, (A, N, H, P, D)."""
    A, N, H, K, Q, T, D = q.shape
    q = q.reshape(A, N, H, K, Q * T, D)
    scores = q @ k.transpose(-1, -2) + masked
    if before is None:
        mixed = scores.softmax(-1) @ v
    else:
        keys, values = before
        P = keys.shape[-2]
        to_prompt = q.reshape(A, N, H, K * Q * T, D) @ keys.transpose(-1, -2)
        shares = torch.cat([to_prompt.view(A, N, H, K, Q * T, P), scores], -1).softmax(-1)
        mixed = (shares[..., :P].reshape(A, N, H, K * Q * T, P) @ values).view_as(q) + shares[..., P:] @ v
    return mixed.view(A, N, H, K, Q, T, D).permute(0, 1, 3, 5, 2, 4, 6).reshape(A, N, K, T, H * Q * D)


def multiply(x: Tensor, weight: Tensor) -> Tensor:
    """Return (A, N, K, T, in) times each run's weight, (A, in, out)."""
    return torch.bmm(x.reshape(len(x), -1, x.shape[-1]), weight).view(*x.shape[:-1], -1)


def rotate(x: Tensor, rope: Rope) -> Tensor:
    half = x.shape[-1] // 2
    return x * rope[0] + torch.cat([-x[..., half:], x[..., :half]], -1) * rope[1]
