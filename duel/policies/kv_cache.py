"""Cache layers: what each layer keeps of a prompt, and returns in prefill, scoring and decoding.

An attention layer keeps keys and values; a linear-attention or convolution layer (Qwen3.5, LFM2) the states that it had
after the last token, in `state_cache.py`. Layers for prefill and scoring do not change state when called again, so they
work under gradient checkpointing, which runs a layer's forward pass twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True)
class LayerState:
    """What a layer keeps of I prompts, or of the rows that continue them.

    The tensors of an attention layer are keys and values, each (I, KV heads, P, d). Those of a layer with states are
    the convolution's, (I, channels, kernel), and, if it has one, the recurrent one, (I, heads, d, d).
    """

    recurrent: bool  # has states rather than keys and values
    tensors: tuple[Tensor, ...]

    @property
    def keys_and_values(self) -> tuple[Tensor, Tensor]:
        """The tensors of an attention layer. Raises ValueError for a layer with states."""
        keys, values = self.tensors
        return keys, values

    def rows(self, chosen: Tensor) -> LayerState:
        """Return the state of the chosen rows, indices or a mask."""
        return LayerState(self.recurrent, tuple(tensor[chosen] for tensor in self.tensors))


class PromptLayer(DynamicLayer):
    """Prefill: stores the prompt's keys and values."""

    keys: Tensor
    values: Tensor

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store and return them."""
        self.keys, self.values, self.is_initialized = key_states, value_states, True
        return key_states, value_states

    @property
    def state(self) -> LayerState:
        """What the layer keeps of the prompts."""
        return LayerState(False, (self.keys, self.values))


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

    def keep(self, wanted_b: Tensor) -> None:
        """Keep only the rows where `wanted_b` is True."""
        self.keys, self.values = self.keys[wanted_b], self.values[wanted_b]


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

    def load(self, keys: Tensor, values: Tensor) -> None:
        """Copy the prompt's keys and values in; old entries beyond it stay masked until they are overwritten."""
        prompt = keys.shape[2]
        self.keys[:, :, :prompt] = keys
        self.values[:, :, :prompt] = values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token; return the whole buffers, of which the attention mask covers the filled part."""
        self.keys.index_copy_(2, self.slot, key_states)
        self.values.index_copy_(2, self.slot, value_states)
        return self.keys, self.values
