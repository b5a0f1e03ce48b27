"""GRPO: advantages within a group, token weights, and the policy-gradient loss of a batch. Pure functions.

Shao et al. 2024 (GRPO, arXiv 2402.03300), Liu et al. 2025 (Dr. GRPO, arXiv 2503.20783), Yu et al. 2025 (DAPO,
arXiv 2503.14476). Agrees numerically with TRL's `GRPOTrainer`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

STD_EPSILON = 1e-4  # as in TRL


def advantages(rewards: Sequence[float | None], kind: Literal["standardised", "centred"]) -> list[float | None] | None:
    """Return each completion's advantage within its group, or None for a group without gradient.

    standardised: (r - mean) / (std + 1e-4), std with divisor n - 1. centred: r - mean. Completions without reward
    (None) are left out and get None. Groups with fewer than two rewards, or with equal rewards, return None.
    """
    known = [reward for reward in rewards if reward is not None]
    if len(known) < 2 or min(known) == max(known):
        return None
    mean = statistics.fmean(known)
    scale = statistics.stdev(known) + STD_EPSILON if kind == "standardised" else 1.0
    return [None if reward is None else (reward - mean) / scale for reward in rewards]


def token_weights(
    lengths: Sequence[int],
    normalisation: Literal["completion", "batch", "constant"],
    max_new_tokens: int,
) -> list[float]:
    """Return the weight in the loss of each token of each completion, one number per completion of a round (B).

    completion: 1 / (B |o_i|), the mean over tokens, then over completions (GRPO).
    batch: 1 / sum_j |o_j|, the mean over all tokens (DAPO; TRL's `bnpo`).
    constant: 1 / (B max_new_tokens) (Dr. GRPO).
    Completions of skipped groups or without reward count in B and in the sum, so that a round with fewer useful
    completions makes a smaller step.
    """
    rows, total = len(lengths), max(1, sum(lengths))
    if normalisation == "completion":
        return [1 / (rows * max(1, length)) for length in lengths]
    return [1 / total if normalisation == "batch" else 1 / (rows * max_new_tokens) for _ in lengths]


def kl_estimate(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return Schulman's k3 estimate of KL(model || reference) per sampled token, in nats, 0 or more.

    exp(d) - d - 1 with d = reference - logprob (http://joschu.net/blog/kl-approx.html).
    """
    difference = reference - logprobs
    return difference.exp() - difference - 1


def exact_kl(reference_V: Tensor, logprobs_V: Tensor) -> Tensor:
    """Return KL(reference || model) over the last dimension, in nats: sum p_ref (log p_ref - log p).

    Tokens that both give probability 0 contribute nothing, and have no gradient.
    """
    impossible = reference_V == float("-inf")
    difference_V = torch.where(impossible, 0.0, reference_V) - torch.where(impossible, 0.0, logprobs_V)
    return (reference_V.exp() * difference_V).sum(-1)


def grpo_loss(
    logprobs_BT: Tensor,
    advantages_B: Tensor,
    weights_BT: Tensor,
    reference_BT: Tensor | None = None,
    kl_coef: float = 0.0,
) -> Tensor:
    """Return the loss, a scalar: -sum weight * ratio * (advantage - kl_coef * KL).

    Training is on-policy, so the ratio is exp(logprob - logprob.detach()): 1 in value, with the policy gradient as its
    derivative. KL is `kl_estimate`; multiplied by the ratio, its gradient is the unbiased gradient of the reverse KL,
    -d (DeepSeek-V3.2, arXiv 2512.02556; TRL's default).

    Args:
        logprobs_BT: (B, T) log-probabilities of the sampled tokens, with gradient.
        advantages_B: (B,) advantages.
        weights_BT: (B, T) from `token_weights`, 0 on padding.
        reference_BT: (B, T) log-probabilities under the reference model; required if `kl_coef` is not 0.
        kl_coef: Coefficient of the KL penalty.
    """
    ratio_BT = torch.exp(logprobs_BT - logprobs_BT.detach())
    gain_BT = advantages_B[:, None].expand_as(logprobs_BT)
    if reference_BT is not None:
        gain_BT = gain_BT - kl_coef * kl_estimate(logprobs_BT, reference_BT)
    return -(weights_BT * ratio_BT * gain_BT).sum()
