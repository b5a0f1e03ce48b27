"""Sampling of completions: a decode loop over all rows of all inputs in one batch, with a random stream per row.

Each row has its own generator, seeded by the caller, and draws one uniform number per token; the token is the inverse
of the cumulative distribution at that number. A row's completion therefore depends on its input and seed only, not on
the rest of the batch (up to rounding), and the global random state is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from duel.policies.inputs import repeat_positions
from duel.policies.logprobs import log_distribution
from duel.policies.models import Model
from duel.policies.prefix import Prefix
from duel.policies.state_cache import cached, decode_layers

COMPACT_BELOW = 0.75  # if fewer than this share of rows is unfinished, finished rows are removed from the batch


@dataclass(frozen=True)
class SampledRows:
    """Completions as right-padded tokens; a row ends with its end token or at the length limit."""

    tokens_BT: Tensor  # (B, T)
    logprobs_BT: Tensor  # (B, T) log-probabilities of the sampled tokens, 0 on padding
    lengths_B: Tensor  # (B,) tokens, end token included
    finished_B: Tensor  # (B,) bool: ended by an end token


def draw_uniforms(seeds: Sequence[int], length: int) -> Tensor:
    """Return uniform numbers in [0, 1), (B, length) on the CPU, each row from its own seed."""
    rows = [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def choose_tokens(logprobs_BV: Tensor, uniforms_B: Tensor) -> Tensor:
    """Sample by inverting the cumulative distribution at each row's uniform number; token ids, (B,)."""
    probabilities_BV = logprobs_BV.exp()
    cumulative_BV = probabilities_BV.cumsum(-1, dtype=torch.float64)
    target_B1 = uniforms_B[:, None].double() * cumulative_BV[:, -1:]
    # The first index above the target: tokens of probability 0 do not increase the sum and are skipped.
    chosen_B1 = torch.searchsorted(cumulative_BV, target_B1, right=True).clamp(max=probabilities_BV.shape[-1] - 1)
    # A parallel cumulative sum can decrease by a rounding error and so select such a token; then take the mode.
    possible_B1 = probabilities_BV.gather(-1, chosen_B1) > 0
    return torch.where(possible_B1, chosen_B1, probabilities_BV.argmax(-1, keepdim=True)).squeeze(-1)


@torch.no_grad()
def sample_rows(model: Model, prefix: Prefix, uniforms_BT: Tensor, temperature: float) -> SampledRows:
    """Sample one completion per row, at most T tokens each.

    Args:
        model: The model, with the player's weights active.
        prefix: The prefilled prompts, expanded to one row per completion.
        uniforms_BT: (B, T) random numbers of the rows, on the CPU.
        temperature: Divides the logits.
    """
    rows, longest = uniforms_BT.shape
    uniforms_BT = uniforms_BT.to(model.device)
    tokens_BT = torch.zeros(rows, longest, dtype=torch.long, device=model.device)
    logprobs_BT = torch.zeros(rows, longest, device=model.device)
    lengths_B = torch.full((rows,), longest, device=model.device)
    finished_B = torch.zeros(rows, dtype=torch.bool, device=model.device)

    batch = DecodeBatch(model, prefix, longest)
    row_of = torch.arange(rows, device=model.device)  # maps batch positions to rows
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
    """The unfinished rows (b of B): their cache, and the logits of each one's next token."""

    def __init__(self, model: Model, prefix: Prefix, longest: int) -> None:
        self.model = model
        self.layers = decode_layers(prefix.layers, longest)
        self.length = prefix.attention_mask_IP.shape[1]
        self.logits_bV = prefix.logits_IV
        self.mask = torch.nn.functional.pad(prefix.attention_mask_IP, (0, longest), value=1)  # (b, P + T)
        self.padded = not bool(prefix.attention_mask_IP.all())
        self.position_b = prefix.next_position_I
        self.axes = prefix.axes

    def read(self, tokens_b: Tensor) -> None:
        """Run one decode step on each row's new token, (b,)."""
        self.length += 1
        with self.model.autocast():
            output = self.model.network(
                input_ids=tokens_b[:, None],
                attention_mask=self.mask[:, : self.length] if self.padded else None,
                position_ids=repeat_positions(self.position_b, 1, self.axes),
                **cached(self.model.network, Cache(layers=[*self.layers])),
            )
        self.logits_bV = output.logits[:, -1]
        self.position_b = self.position_b + 1

    def keep(self, wanted_b: Tensor) -> None:
        """Keep only the rows where `wanted_b` is True."""
        for layer in self.layers:
            layer.keep(wanted_b)
        self.mask, self.position_b = self.mask[wanted_b], self.position_b[wanted_b]
