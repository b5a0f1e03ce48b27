"""The key-value cache layers: what each attention layer stores and returns in prefill, scoring and decoding.

None of them changes state under gradient checkpointing, where a layer's forward pass runs twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer


class PromptLayer(DynamicLayer):
    """Notes a prompt's keys and values as they pass."""

    keys: Tensor
    values: Tensor

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Note them; there is nothing earlier to attend to."""
        self.keys, self.values, self.is_initialized = key_states, value_states, True
        return key_states, value_states


class ContinuationLayer(DynamicLayer):
    """Lets completions attend to their prompts and keeps nothing."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.is_initialized = keys, values, True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return prompt and completion in a row."""
        return torch.cat([self.keys, key_states], -2), torch.cat([self.values, value_states], -2)


class BufferLayer(DynamicLayer):
    """Keys and values of prompt and completion in buffers that are written in place."""

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
        """Add one token; return all so far."""
        self.keys[:, :, self.length : self.length + 1] = key_states
        self.values[:, :, self.length : self.length + 1] = value_states
        self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        """Tokens held."""
        return self.length


class StaticLayer(DynamicLayer):
    """Keys and values at fixed addresses, written at `slot`. Transformers' own wants both in one dtype."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, length: int, slot: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys = keys.new_zeros(*keys.shape[:2], length, keys.shape[3])
        self.values = values.new_zeros(*values.shape[:2], length, values.shape[3])
        self.slot = slot
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token; return all the room there is, of which the mask shows what is filled."""
        self.keys.index_copy_(2, self.slot, key_states)
        self.values.index_copy_(2, self.slot, value_states)
        return self.keys, self.values
