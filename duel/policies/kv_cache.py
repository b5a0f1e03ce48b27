"""KV cache layers: what each attention layer stores and returns in prefill, scoring and decoding.

PromptLayer and ContinuationLayer do not change state when called again, so they work under gradient checkpointing,
which runs a layer's forward pass twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer


class PromptLayer(DynamicLayer):
    """Prefill: stores the prompt's keys and values."""

    keys: Tensor
    values: Tensor

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store and return them."""
        self.keys, self.values, self.is_initialized = key_states, value_states, True
        return key_states, value_states


class ContinuationLayer(DynamicLayer):
    """Scoring: attends to the prompt's keys and values, and stores none of the completion's."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.is_initialized = keys, values, True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return the prompt's keys and values followed by the completion's."""
        return torch.cat([self.keys, key_states], -2), torch.cat([self.values, value_states], -2)


class BufferLayer(DynamicLayer):
    """Decoding: preallocated buffers for prompt and completion, written in place at the current length."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = keys.shape[-2]
        self.is_initialized = True
        padding = (0, 0, 0, room)
        self.keys = torch.nn.functional.pad(keys, padding)
        self.values = torch.nn.functional.pad(values, padding)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append one token; return the filled part."""
        self.keys[:, :, self.length : self.length + 1] = key_states
        self.values[:, :, self.length : self.length + 1] = value_states
        self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        """Return the number of tokens stored."""
        return self.length


class StaticLayer(DynamicLayer):
    """Decoding in a CUDA graph: buffers at fixed addresses, written at index `slot`.

    Transformers' `StaticLayer` requires keys and values of one dtype.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, length: int, slot: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys = keys.new_zeros(*keys.shape[:2], length, keys.shape[3])
        self.values = values.new_zeros(*values.shape[:2], length, values.shape[3])
        self.slot = slot
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token; return the whole buffers, of which the attention mask covers the filled part."""
        self.keys.index_copy_(2, self.slot, key_states)
        self.values.index_copy_(2, self.slot, value_states)
        return self.keys, self.values
