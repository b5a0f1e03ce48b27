"""Scaled dot-product attention for decode steps under grouped-query attention, without expanding the KV cache.

Transformers' `sdpa` repeats keys and values once per query head when there is a mask: for Qwen2.5-VL-3B, eight times
the whole KV cache at every decode step. With a single query token, a group's query heads can instead be passed as the
query positions of one head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED_SDPA = "duel_grouped_sdpa"  # for `attn_implementation`


def grouped_sdpa(
    module: torch.nn.Module,
    query: Tensor,  # (B, heads, q, d)
    key: Tensor,  # (B, KV heads, L, d)
    value: Tensor,  # (B, KV heads, L, d)
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return the attention output, (B, q, heads, d), and None for the attention weights.

    Falls back to `sdpa` for more than one query token or where every head has its own keys.
    """
    batch, heads, queries, _ = query.shape
    shared = key.shape[1]
    if queries != 1 or heads == shared or (attention_mask is not None and attention_mask.shape[1] != 1):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    grouped = query.view(batch, shared, heads // shared, -1)  # query head h uses KV head h // (heads / shared)
    if attention_mask is not None:
        attention_mask = attention_mask.expand(-1, -1, heads // shared, -1)
    attended = torch.nn.functional.scaled_dot_product_attention(
        grouped, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
    )
    return attended.reshape(batch, 1, heads, -1), None


AttentionInterface.register(GROUPED_SDPA, grouped_sdpa)
AttentionMaskInterface.register(GROUPED_SDPA, sdpa_mask)
