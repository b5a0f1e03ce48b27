"""Token log-probabilities: one distribution shared by sampling and scoring, and the scoring of completions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from duel.policies.models import Model
from duel.policies.prefix import Prefix, continue_prompts


def log_distribution(logits: Tensor, forbidden_V: Tensor, temperature: float | Tensor) -> Tensor:
    """Return log softmax(logits / temperature) in fp32 over the allowed tokens, (..., V).

    Forbidden tokens have probability 0. No top-k, no top-p, so that completions are scored under the distribution
    that they were sampled from.
    """
    return (logits.float() / temperature).masked_fill(forbidden_V, float("-inf")).log_softmax(-1)


def completion_logprobs(model: Model, prefix: Prefix, tokens_BT: Tensor, temperature: float) -> Tensor:
    """Return each completion token's log-probability, (B, T), differentiable; values on padding are arbitrary.

    `prefix` must be expanded to B rows. Rows are scored one by one and recomputed in the backward pass, so that only
    one row's fp32 distribution (T x 152 k for Qwen2.5) is in memory at a time.
    """
    logits_BTV = continue_prompts(model, prefix, tokens_BT)

    def score(logits_TV: Tensor, tokens_T: Tensor) -> Tensor:
        logprobs_TV = log_distribution(logits_TV, model.forbidden_V, temperature)
        return logprobs_TV.gather(-1, tokens_T[:, None]).squeeze(-1)

    rows = [
        checkpoint(score, logits_TV, tokens_T, use_reentrant=False, preserve_rng_state=False)
        for logits_TV, tokens_T in zip(logits_BTV, tokens_BT, strict=True)
    ]
    return torch.stack(rows)


def pack_rows(model: Model, completions: Sequence[Sequence[int]]) -> Tensor:
    """Return token lists as a right-padded tensor, (B, T).

    Padding is not attended to by any completion token. It is an end token, because a forbidden token would have
    log-probability minus infinity, which a weight of 0 turns into NaN.
    """
    longest, pad = max(1, max(map(len, completions))), int(model.end_tokens[0])
    padded = [[*tokens, *[pad] * (longest - len(tokens))] for tokens in completions]
    return torch.tensor(padded, device=model.device)
