"""Sampling completions: own decode loop, own random numbers, all rows of all inputs in one batch.

Every row has its own generator, seeded by the caller, and draws one uniform number per token; the token is
the inverse of the cumulative distribution at that number. So a row's text depends on its input and seed
and not on who shares its batch (up to rounding), and nothing touches the global random state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from duel.policies.inputs import repeat_positions
from duel.policies.kv_cache import BufferLayer
from duel.policies.logprobs import log_distribution
from duel.policies.models import Model
from duel.policies.prefix import Prefix

COMPACT_BELOW = 0.75  # share of rows still being written; below it the finished ones are dropped from the batch


@dataclass(frozen=True)
class SampledRows:
    """Completions as tokens, right-padded; a row's tokens end with its end token or at the limit."""

    tokens_BT: Tensor  # (B, T)
    logprobs_BT: Tensor  # (B, T) of the sampled tokens, 0 on padding
    lengths_B: Tensor  # (B,)
    finished_B: Tensor  # (B,) bool: the end token came


def draw_uniforms(seeds: Sequence[int], length: int) -> Tensor:
    """Return one uniform number in [0, 1) per row and token, (B, length), each row from its own seed."""
    rows = [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def choose_tokens(logprobs_BV: Tensor, uniforms_B: Tensor) -> Tensor:
    """Return the token at which the cumulative distribution passes each uniform number, (B,)."""
    probabilities_BV = logprobs_BV.exp()
    cumulative_BV = probabilities_BV.cumsum(-1, dtype=torch.float64)
    target_B1 = uniforms_B[:, None].double() * cumulative_BV[:, -1:]
    # The first place above the target: a token of probability 0 adds nothing and is stepped over.
    chosen_B1 = torch.searchsorted(cumulative_BV, target_B1, right=True).clamp(max=probabilities_BV.shape[-1] - 1)
    # A parallel cumulative sum may fall by a rounding error, and then land on such a token after all.
    possible_B1 = probabilities_BV.gather(-1, chosen_B1) > 0
    return torch.where(possible_B1, chosen_B1, probabilities_BV.argmax(-1, keepdim=True)).squeeze(-1)


@torch.no_grad()
def sample_rows(model: Model, prefix: Prefix, uniforms_BT: Tensor, temperature: float) -> SampledRows:
    """Sample one completion per row, at most T tokens each.

    Args:
        model: Whose weights are in place.
        prefix: The prompts, encoded and expanded: one row per completion.
        uniforms_BT: (B, T) the rows' random numbers, on the CPU.
        temperature: Divides the logits.
    """
    rows, longest = uniforms_BT.shape
    uniforms_BT = uniforms_BT.to(model.device)
    tokens_BT = torch.zeros(rows, longest, dtype=torch.long, device=model.device)
    logprobs_BT = torch.zeros(rows, longest, device=model.device)
    lengths_B = torch.full((rows,), longest, device=model.device)
    finished_B = torch.zeros(rows, dtype=torch.bool, device=model.device)

    batch = DecodeBatch(model, prefix, longest)
    row_of = torch.arange(rows, device=model.device)  # the row that each place of the batch writes
    for step in range(longest):
        logprobs_bV = log_distribution(batch.logits_bV, model.forbidden_V, temperature)
        chosen_b = choose_tokens(logprobs_bV, uniforms_BT[row_of, step])
        writing_b = ~finished_B[row_of]
        row, token = row_of[writing_b], chosen_b[writing_b]
        tokens_BT[row, step] = token
        logprobs_BT[row, step] = logprobs_bV[writing_b].gather(-1, token[:, None]).squeeze(-1)
        ended = row[torch.isin(token, model.end_tokens)]
        finished_B[ended], lengths_B[ended] = True, step + 1

        writing_b = ~finished_B[row_of]
        if step + 1 == longest or not writing_b.any():
            break
        if writing_b.float().mean() < COMPACT_BELOW:
            batch.keep(writing_b)
            row_of, chosen_b = row_of[writing_b], chosen_b[writing_b]
        batch.read(chosen_b)
    return SampledRows(tokens_BT, logprobs_BT, lengths_B, finished_B)


class DecodeBatch:
    """The rows being written, and the logits of each one's next token."""

    def __init__(self, model: Model, prefix: Prefix, longest: int) -> None:
        pairs = zip(prefix.keys, prefix.values, strict=True)
        self.model = model
        self.layers = [BufferLayer(keys, values, longest) for keys, values in pairs]
        self.logits_bV = prefix.logits_IV
        self.mask = torch.nn.functional.pad(prefix.attention_mask_IP, (0, longest), value=1)  # (b, P + T)
        self.padded = not bool(prefix.attention_mask_IP.all())
        self.position_b = prefix.next_position_I
        self.axes = prefix.axes

    def read(self, tokens_b: Tensor) -> None:
        """Give every row its next token."""
        length = self.layers[0].length + 1
        with self.model.autocast():
            output = self.model.network(
                input_ids=tokens_b[:, None],
                attention_mask=self.mask[:, :length] if self.padded else None,
                position_ids=repeat_positions(self.position_b, 1, self.axes),
                past_key_values=Cache(layers=[*self.layers]),
                use_cache=True,
            )
        self.logits_bV = output.logits[:, -1]
        self.position_b = self.position_b + 1

    def keep(self, wanted_b: Tensor) -> None:
        """Drop all other rows."""
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[wanted_b], layer.values[wanted_b]
        self.mask, self.position_b = self.mask[wanted_b], self.position_b[wanted_b]
