"""Prefill shared by a group: each prompt's cache is computed once for sampling or scoring all its completions.

The G completions of a group attend to the same keys and values of prompt and image. In scoring these carry gradients:
what the completions send back to a prompt is summed there and passes through the prompt, and the vision tower, once
(`Prefix.backward`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from duel.policies.inputs import Prompts, repeat_positions
from duel.policies.kv_cache import LayerState
from duel.policies.models import Model
from duel.policies.state_cache import cached, continuation_cache, prompt_cache, stored_states


@dataclass(frozen=True)
class Prefix:
    """The result of prefill that completions continue from: a row per prompt, or per completion once expanded."""

    layers: Sequence[LayerState]  # keys and values, or states
    logits_IV: Tensor  # (I, V) after the last prompt token
    attention_mask_IP: Tensor  # (I, P)
    next_position_I: Tensor  # (I,)
    axes: int  # of a position id: 3 with multimodal RoPE, else 1

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that carry gradients."""
        return [*(tensor for layer in self.layers for tensor in layer.tensors), self.logits_IV]

    def expand(self, prompt_of_row: Tensor) -> Prefix:
        """Return one row per completion: row b continues prompt `prompt_of_row[b]`."""
        return replace(
            self,
            layers=[layer.rows(prompt_of_row) for layer in self.layers],
            logits_IV=self.logits_IV[prompt_of_row],
            attention_mask_IP=self.attention_mask_IP[prompt_of_row],
            next_position_I=self.next_position_I[prompt_of_row],
        )

    def detached(self) -> Prefix:
        """Return a copy cut off from the graph, whose leaves accumulate gradients for `backward`."""
        *leaves, logits_IV = (tensor.detach().requires_grad_() for tensor in self.tensors)
        of_layers = iter(leaves)
        layers = [LayerState(layer.recurrent, tuple(islice(of_layers, len(layer.tensors)))) for layer in self.layers]
        return replace(self, layers=layers, logits_IV=logits_IV)

    def backward(self, detached: Prefix) -> None:
        """Backpropagate the gradients accumulated in the detached copy through the prompts, once."""
        pairs = [(mine, leaf.grad) for mine, leaf in zip(self.tensors, detached.tensors, strict=True)]
        reached = [(mine, gradient) for mine, gradient in pairs if gradient is not None and mine.requires_grad]
        if reached:
            torch.autograd.backward([mine for mine, _ in reached], [gradient for _, gradient in reached])


def encode_prompts(model: Model, prompts: Prompts) -> Prefix:
    """Prefill: run I distinct prompts and their images through the network."""
    cache = prompt_cache(model.network)
    with model.autocast(), model.features.reading(model.network, prompts.digest):
        output = model.network(
            input_ids=prompts.input_ids_IP,
            attention_mask=prompts.attention_mask_IP,
            position_ids=prompts.position_ids,
            **cached(model.network, cache),
            logits_to_keep=1,
            **prompts.images,
        )
    return Prefix(
        layers=stored_states(cache),
        logits_IV=output.logits[:, -1],
        attention_mask_IP=prompts.attention_mask_IP,
        next_position_I=prompts.next_position_I,
        axes=prompts.position_ids.shape[0] if prompts.position_ids.ndim == 3 else 1,
    )


def continue_prompts(model: Model, prefix: Prefix, tokens_BT: Tensor) -> Tensor:
    """Return the logits of every completion token, (B, T, V), for an expanded prefix.

    The first token's logits are those after the prompt; token t's come from a forward pass over the tokens before t.
    """
    read_BT = tokens_BT[:, :-1]
    if read_BT.shape[1] == 0:
        return prefix.logits_IV[:, None]
    mask = torch.cat([prefix.attention_mask_IP, torch.ones_like(read_BT)], -1)
    with model.autocast():
        output = model.network(
            input_ids=read_BT,
            attention_mask=mask,
            position_ids=repeat_positions(prefix.next_position_I, read_BT.shape[1], prefix.axes),
            **cached(model.network, continuation_cache(prefix.layers)),
        )
    return torch.cat([prefix.logits_IV[:, None], output.logits], 1)


@contextmanager
def recomputing(network: PreTrainedModel, enabled: bool) -> Iterator[None]:
    """Gradient checkpointing of every layer, if enabled.

    Transformers' own switch disables the KV cache and works in train mode only.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, GradientCheckpointingLayer)] if enabled else []
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
