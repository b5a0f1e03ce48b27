"""The decode loop for CUDA: one step over static buffers, captured in a CUDA graph and replayed.

Launching a step's kernels one by one takes several times as long as running them. A captured step needs no compiler and
serves every later batch of the same shape; trained weights change in place, so it stays right after an update.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from duel.policies.kv_cache import StaticLayer
from duel.policies.logprobs import log_distribution
from duel.policies.models import Model
from duel.policies.prefix import Prefix
from duel.policies.sampling import SampledRows, choose_tokens

ROUND_LENGTH_TO = 64  # prompts of about one length share a captured step; attention kernels like multiples of 8
LOOK_EVERY = 16  # steps between looks at whether all rows have ended; each look waits for the device


@dataclass(frozen=True)
class Shape:
    """What a captured step is good for."""

    rows: int
    longest: int  # tokens of a completion
    length: int  # of the cache: prompt and completion
    axes: int


class StaticDecoder:
    """One decode step of one policy, and the buffers it works on. On the CPU it runs uncaptured."""

    def __init__(self, model: Model, shape: Shape, prefix: Prefix) -> None:
        self.model = model
        self.shape = shape
        rows, longest, device = shape.rows, shape.longest, model.device
        self.mask = torch.zeros(rows, 1, 1, shape.length, dtype=torch.bool, device=device)  # (B, 1, 1, length)
        self.position_B = torch.zeros(rows, dtype=torch.long, device=device)
        self.slot = torch.zeros(1, dtype=torch.long, device=device)  # where in the cache the next token goes
        pairs = zip(prefix.keys, prefix.values, strict=True)
        self.layers = [StaticLayer(keys, values, shape.length, self.slot) for keys, values in pairs]
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
        """Sample one completion per row of an expanded prefix."""
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
        """Put a batch into the buffers."""
        prompt = prefix.attention_mask_IP.shape[1]
        for layer, keys, values in zip(self.layers, prefix.keys, prefix.values, strict=True):
            layer.keys[:, :, :prompt] = keys  # what lies behind is masked until it is written anew
            layer.values[:, :, :prompt] = values
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
        """Choose every row's next token, then read it. Works in place: a graph replays the same addresses."""
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
        # Weights that autocast casts must be cast in every step: kept copies would miss later updates.
        with self.model.autocast(cache_enabled=False):
            output = self.model.network(
                input_ids=chosen_B1,
                attention_mask=self.mask,
                position_ids=position_ids if self.shape.axes == 1 else position_ids.expand(self.shape.axes, -1, -1),
                past_key_values=Cache(layers=[*self.layers]),
                use_cache=True,
                logits_to_keep=1,
            )
        self.logits_BV.copy_(output.logits[:, -1])
        for counter in (self.position_B, self.slot, self.step):
            counter.add_(1)

    def _capture(self) -> None:
        """Record one step. The first runs set up what may not be set up while recording."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
                self.step.zero_()  # stay within buffers of any length
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self._step()


def sees_everything(model: Model) -> bool:
    """Tell whether every layer attends to all tokens before: the static step has one mask for all layers."""
    text = model.network.config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds is None:
        return getattr(text, "sliding_window", None) is None
    return set(kinds) == {"full_attention"}


def sample_rows_static(
    decoder: StaticDecoder | None, model: Model, prefix: Prefix, uniforms_BT: Tensor, temperature: float
) -> tuple[SampledRows, StaticDecoder]:
    """Sample with `decoder` if it fits, else with a new one; return the rows and the decoder, to be kept."""
    rows, longest = uniforms_BT.shape
    length = prefix.attention_mask_IP.shape[1] + max(longest, 4)  # 4: the steps around capturing
    shape = Shape(rows, longest, -(-length // ROUND_LENGTH_TO) * ROUND_LENGTH_TO, prefix.axes)
    if decoder is None or decoder.shape != shape:
        decoder = StaticDecoder(model, shape, prefix)
    return decoder.sample(prefix, uniforms_BT, temperature), decoder
