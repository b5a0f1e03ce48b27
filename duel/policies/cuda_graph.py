"""CUDA-graph decoding: one decode step over static buffers, captured once and replayed per token.

Launching a step's kernels one by one takes several times as long as running them. Capture needs no compiler, and the
graph serves every later batch of the same shape; the optimizer updates weights in place, so the graph stays valid after
an update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from duel.policies.logprobs import log_distribution
from duel.policies.models import Model
from duel.policies.prefix import Prefix
from duel.policies.sampling import SampledRows, choose_tokens
from duel.policies.state_cache import cached, graph_layers

ROUND_LENGTH_TO = 64  # so that prompts of similar length share a graph; attention kernels prefer multiples of 8
LOOK_EVERY = 16  # steps between checks whether all rows have ended; each check synchronises with the device


@dataclass(frozen=True)
class Shape:
    """The shape of a batch that a captured graph can decode."""

    rows: int
    longest: int  # completion tokens
    length: int  # of the KV cache: prompt and completion tokens
    axes: int  # of the position ids


class StaticDecoder:
    """A decode step for one policy, and its static buffers. On the CPU it runs without capture."""

    def __init__(self, model: Model, shape: Shape, prefix: Prefix) -> None:
        self.model = model
        self.shape = shape
        rows, longest, device = shape.rows, shape.longest, model.device
        self.mask = torch.zeros(rows, 1, 1, shape.length, dtype=torch.bool, device=device)  # (B, 1, 1, length)
        self.position_B = torch.zeros(rows, dtype=torch.long, device=device)
        self.slot = torch.zeros(1, dtype=torch.long, device=device)  # KV cache index of the next token
        self.layers = graph_layers(prefix.layers, shape.length, self.slot)
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        self.temperature = torch.ones((), device=device)
        self.logits_BV = torch.zeros_like(prefix.logits_IV)
        self.uniforms_BT = torch.zeros(rows, longest, device=device)
        self.tokens_BT = torch.zeros(rows, longest, dtype=torch.long, device=device)
        self.logprobs_BT = torch.zeros(rows, longest, device=device)
        self.lengths_B = torch.zeros(rows, dtype=torch.long, device=device)
        self.finished_B = torch.zeros(rows, dtype=torch.bool, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None

    @torch.no_grad()
    def sample(self, prefix: Prefix, uniforms_BT: Tensor, temperature: float) -> SampledRows:
        """Sample one completion per row of an expanded prefix; at most `uniforms_BT.shape[1]` tokens each."""
        self._load(prefix, uniforms_BT, temperature)
        if self.graph is None and self.model.device.type == "cuda":
            self._capture()
            self._load(prefix, uniforms_BT, temperature)
        for step in range(self.shape.longest):
            if self.graph is None:
                self._step()
            else:
                self.graph.replay()
            if (step + 1) % LOOK_EVERY == 0 and bool(self.finished_B.all()):
                break
        return SampledRows(
            self.tokens_BT.clone(), self.logprobs_BT.clone(), self.lengths_B.clone(), self.finished_B.clone()
        )

    def _load(self, prefix: Prefix, uniforms_BT: Tensor, temperature: float) -> None:
        """Copy a batch into the static buffers."""
        prompt = prefix.attention_mask_IP.shape[1]
        for layer, state in zip(self.layers, prefix.layers, strict=True):
            layer.load(*state.tensors)
        self.mask.zero_()
        self.mask[:, 0, 0, :prompt] = prefix.attention_mask_IP.bool()
        self.position_B.copy_(prefix.next_position_I)
        self.logits_BV.copy_(prefix.logits_IV)
        self.uniforms_BT.copy_(uniforms_BT)
        self.temperature.fill_(temperature)
        self.slot.fill_(prompt)
        for buffer in (self.step, self.tokens_BT, self.logprobs_BT, self.lengths_B, self.finished_B):
            buffer.zero_()

    def _step(self) -> None:
        """Sample every row's next token and run it through the network, in place: a graph replays fixed addresses."""
        logprobs_BV = log_distribution(self.logits_BV, self.model.forbidden_V, self.temperature)
        chosen_B = choose_tokens(logprobs_BV, self.uniforms_BT.index_select(1, self.step).squeeze(1))
        chosen_B1 = chosen_B[:, None]
        writing_B1 = ~self.finished_B[:, None]
        chosen_logprob_B1 = logprobs_BV.gather(-1, chosen_B1)
        self.tokens_BT.index_copy_(1, self.step, torch.where(writing_B1, chosen_B1, 0))
        self.logprobs_BT.index_copy_(1, self.step, torch.where(writing_B1, chosen_logprob_B1, 0))
        self.lengths_B.add_(writing_B1.squeeze(1))
        self.finished_B.logical_or_((chosen_B1 == self.model.end_tokens).any(-1))

        self.mask.index_fill_(-1, self.slot, True)
        position_ids = self.position_B[:, None]  # (B, 1)
        # No autocast cache: the graph would capture its cast copies of the weights and miss later updates.
        with self.model.autocast(cache_enabled=False):
            output = self.model.network(
                input_ids=chosen_B1,
                attention_mask=self.mask,
                position_ids=position_ids if self.shape.axes == 1 else position_ids.expand(self.shape.axes, -1, -1),
                **cached(self.model.network, Cache(layers=[*self.layers])),
                logits_to_keep=1,
            )
        self.logits_BV.copy_(output.logits[:, -1])
        for counter in (self.position_B, self.slot, self.step):
            counter.add_(1)

    def _capture(self) -> None:
        """Capture one step, after three warm-up runs for lazy initialisation that is not allowed during capture."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
                self.step.zero_()  # keep the step within the buffers, however short they are
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self._step()


def has_full_attention(model: Model) -> bool:
    """Whether every attention layer attends to all earlier tokens (no window): the static step has one mask for all."""
    text = model.network.config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds is None:
        return getattr(text, "sliding_window", None) is None
    return set(kinds) <= {"full_attention", "linear_attention", "conv"}


def sample_rows_static(
    decoder: StaticDecoder | None, model: Model, prefix: Prefix, uniforms_BT: Tensor, temperature: float
) -> tuple[SampledRows, StaticDecoder]:
    """Sample with `decoder` if its shape fits, else with a new one. Returns the rows, and the decoder for reuse."""
    rows, longest = uniforms_BT.shape
    length = prefix.attention_mask_IP.shape[1] + max(longest, 4)  # 4: three warm-up steps and the captured one
    shape = Shape(rows, longest, -(-length // ROUND_LENGTH_TO) * ROUND_LENGTH_TO, prefix.axes)
    if decoder is None or decoder.shape != shape:
        decoder = StaticDecoder(model, shape, prefix)
    return decoder.sample(prefix, uniforms_BT, temperature), decoder
