"""The anchor's gradient: KL(untrained || base) on the untrained model's own answers about training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from duel.grpo import exact_kl
from duel.policies.inputs import build_prompts, distinct
from duel.policies.logprobs import log_distribution, pack_rows
from duel.policies.models import Model
from duel.policies.prefix import continue_prompts, encode_prompts, recomputing
from duel.policies.tuning import Tuning
from duel.policies.update import LearningSettings, chunks
from duel.settings import AnchorSettings
from duel.types import Completion, ModelInput

AnchorAnswer = tuple[ModelInput, Completion]  # what the untrained model was asked, and its answer


@dataclass(frozen=True)
class Anchored:
    """The anchor's part of a round's loss, and the divergence it was computed from."""

    loss: float
    divergence: float | None  # KL(untrained || base), mean over tokens; None: no anchors


def accumulate_anchor(
    tuning: Tuning, anchors: Sequence[AnchorAnswer], settings: LearningSettings, accumulation: int
) -> Anchored:
    """Add 1 / `accumulation` of the anchor's gradient to the parameters' gradients; return what was measured.

    The loss is coef * KL(untrained || base), exact over the vocabulary, summed over the tokens of an answer that count
    (the last `anchor.last_tokens`, or all), mean over answers. Without anchors nothing is added.
    """
    most = settings.anchor.last_tokens
    loss, total, tokens = 0.0, 0.0, sum(len(answer.tokens[counted(answer, most)]) for _, answer in anchors)
    with recomputing(tuning.model.network, settings.gradient_checkpointing):
        for part in chunks(len(anchors), settings.rows_per_forward):
            divergence = _divergence(tuning, anchors[part], settings.anchor)
            part_loss = settings.anchor.coef * divergence / len(anchors)
            (part_loss / accumulation).backward()  # type: ignore[no-untyped-call]
            loss += part_loss.item()
            total += divergence.item()
    return Anchored(loss, total / tokens if tokens else None)


def counted(answer: Completion, last_tokens: int | None) -> slice:
    """Return the places of an answer's tokens that count: its last `last_tokens`; None: all."""
    length = len(answer.tokens)
    return slice(0 if last_tokens is None else max(0, length - last_tokens), length)


def _divergence(tuning: Tuning, anchors: Sequence[AnchorAnswer], settings: AnchorSettings) -> Tensor:
    """Return KL(untrained || base) summed over the tokens of these answers that count, a scalar with gradient."""
    model, temperature = tuning.model, settings.temperature
    places = [counted(answer, settings.last_tokens) for _, answer in anchors]
    tokens_BT = pack_rows(model, [answer.tokens for _, answer in anchors])
    inputs = [given for given, _ in anchors]
    with torch.no_grad(), tuning.reference() as untrained:
        untrained_BTV = _logits(untrained, inputs, tokens_BT)

    def diverge(logits_TV: Tensor, untrained_TV: Tensor) -> Tensor:
        goal_TV = log_distribution(untrained_TV, model.forbidden_V, temperature)
        return exact_kl(goal_TV, log_distribution(logits_TV, model.forbidden_V, temperature)).sum()

    logits_BTV = _logits(model, inputs, tokens_BT)
    rows = zip(logits_BTV, untrained_BTV, places, strict=True)
    # Row by row and recomputed in the backward pass, as in `completion_logprobs`, to bound the memory of distributions.
    sums = [
        checkpoint(diverge, mine_TV[place], goal_TV[place], use_reentrant=False, preserve_rng_state=False)
        for mine_TV, goal_TV, place in rows
    ]
    return torch.stack(sums).sum()


def _logits(model: Model, inputs: Sequence[ModelInput], tokens_BT: Tensor) -> Tensor:
    """Return the logits of every answer token, (B, T, V); values on padding are arbitrary.

    Equal inputs are read once.
    """
    asked, place = distinct(inputs)
    prefix = encode_prompts(model, build_prompts(model, asked))
    return continue_prompts(model, prefix.expand(torch.tensor(place, device=model.device)), tokens_BT)
