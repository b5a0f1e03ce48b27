"""Cache layers of linear attention and convolutions, and the caches that hold all of a model's layers.

Transformers' own `LinearAttentionLayer` copies states in place, through which no gradient passes, and remembers that it
was called, so that gradient checkpointing would continue from a prompt's end rather than repeat it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, LinearAttentionLayer

from duel.errors import SettingsError
from duel.policies.kv_cache import BufferLayer, ContinuationLayer, LayerState, PromptLayer, StaticLayer


class PromptStateLayer(LinearAttentionLayer):
    """Prefill: stores the states after the prompt; called again, it starts from nothing again."""

    def update_conv_state(
        self, conv_states: Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> Tensor:
        """Store the last inputs of the convolution, padded with zeros on the left; return all of them."""
        kernel = conv_states.shape[-1] if conv_kernel_size is None else conv_kernel_size
        missing = max(0, kernel - conv_states.shape[-1])
        padded = torch.nn.functional.pad(conv_states, (missing, 0))
        self.conv_states[state_idx] = padded[..., -kernel:]
        return padded if missing else conv_states

    def update_recurrent_state(self, recurrent_states: Tensor, state_idx: int = 0, **_: Any) -> Tensor:
        """Store and return the state."""
        self.recurrent_states[state_idx] = recurrent_states
        return recurrent_states

    @property
    def state(self) -> LayerState:
        """What the layer keeps of the prompts."""
        return LayerState(True, tuple(_present(self.conv_states[0], self.recurrent_states[0])))


class StateLayer(LinearAttentionLayer):
    """A layer with states of its own tensors. They are those after the prompt: there is always a previous state."""

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__()
        self.conv_states[0], *recurrent = tensors
        self.recurrent_states[0] = recurrent[0] if recurrent else None
        self.has_previous_state[0] = True

    @property
    def tensors(self) -> list[Tensor]:
        """The states."""
        return _present(self.conv_states[0], self.recurrent_states[0])


class ContinuationStateLayer(StateLayer):
    """Scoring: continues from the prompt's states, and stores none of the completion's."""

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__(*tensors)
        self.record_past = True  # else a model overwrites the convolution's state when it reads a single token

    def update_conv_state(
        self, conv_states: Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> Tensor:
        """Return the prompt's last inputs of the convolution followed by the completion's."""
        del conv_kernel_size  # the stored inputs are as many
        before = self.conv_states[state_idx]
        assert before is not None
        return torch.cat([before, conv_states], -1)

    def update_recurrent_state(self, recurrent_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return the state, and forget it."""
        return recurrent_states


class DecodeStateLayer(StateLayer):
    """Decoding, also in a CUDA graph: states are overwritten in place after every token."""

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__(*(tensor.clone() for tensor in tensors))

    def load(self, *tensors: Tensor) -> None:
        """Copy the prompts' states in."""
        for mine, given in zip(self.tensors, tensors, strict=True):
            mine.copy_(given)

    def keep(self, wanted_b: Tensor) -> None:
        """Keep only the rows where `wanted_b` is True."""
        self.conv_states[0], *recurrent = (tensor[wanted_b] for tensor in self.tensors)
        self.recurrent_states[0] = recurrent[0] if recurrent else None

    def update_conv_state(
        self, conv_states: Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> Tensor:
        """Append one token to the inputs of the convolution, and drop the oldest; return old and new ones."""
        del conv_kernel_size  # the stored inputs are as many
        state = self.conv_states[state_idx]
        assert state is not None
        full = torch.cat([state, conv_states], -1)
        state.copy_(full[..., -state.shape[-1] :])
        return full

    def update_recurrent_state(self, recurrent_states: Tensor, state_idx: int = 0, **_: Any) -> Tensor:
        """Overwrite the state and return it."""
        state = self.recurrent_states[state_idx]
        assert state is not None
        return state.copy_(recurrent_states)


DecodeLayer = BufferLayer | DecodeStateLayer
GraphLayer = StaticLayer | DecodeStateLayer


def prompt_cache(network: PreTrainedModel) -> Cache:
    """Return an empty cache for prefill. Raises SettingsError for layers that keep more than one kind of state."""
    layers = DynamicCache(config=network.config).layers
    recurrent = [isinstance(layer, LinearAttentionLayer) for layer in layers]
    if not any(recurrent):
        return Cache(layer_class_to_replicate=PromptLayer)
    for layer in layers:
        if isinstance(layer, LinearAttentionLayer) and isinstance(layer, CacheLayerMixin):
            raise SettingsError(
                f"a layer of this {network.config.model_type} model keeps keys, values and states at once, which is "
                f"not supported; docs/models.md lists families that are"
            )
    return Cache(layers=[PromptStateLayer() if has_state else PromptLayer() for has_state in recurrent])  # type: ignore[no-untyped-call]


def cached(network: PreTrainedModel, cache: Cache) -> dict[str, Any]:
    """Return the arguments of a forward pass with this cache, which transformers 5.24 renamed."""
    name = "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"
    return {name: cache, "use_cache": True}


def stored_states(cache: Cache) -> list[LayerState]:
    """Return what the layers of a prefilled cache keep."""
    return [layer.state for layer in cache.layers if isinstance(layer, PromptLayer | PromptStateLayer)]


def continuation_cache(states: Sequence[LayerState]) -> Cache:
    """Return a cache for scoring completions of these prompts."""
    return Cache(
        layers=[
            ContinuationStateLayer(*state.tensors) if state.recurrent else ContinuationLayer(*state.keys_and_values)
            for state in states
        ]
    )


def decode_layers(states: Sequence[LayerState], room: int) -> list[DecodeLayer]:
    """Return layers for decoding `room` tokens."""
    return [DecodeStateLayer(*s.tensors) if s.recurrent else BufferLayer(*s.keys_and_values, room) for s in states]


def graph_layers(states: Sequence[LayerState], length: int, slot: Tensor) -> list[GraphLayer]:
    """Return layers at fixed addresses, for up to `length` tokens of prompt and completion."""
    return [
        DecodeStateLayer(*state.tensors) if state.recurrent else StaticLayer(*state.keys_and_values, length, slot)
        for state in states
    ]


def _present(*tensors: Tensor | None) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor is not None]
