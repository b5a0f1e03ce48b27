"""The GRPO gradient of one round, accumulated over as many forward passes as memory requires."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from duel.grpo import advantages, grpo_loss, kl_estimate, token_weights
from duel.policies.inputs import build_prompts, distinct
from duel.policies.logprobs import completion_logprobs, pack_rows
from duel.policies.models import Model
from duel.policies.prefix import Prefix, encode_prompts, recomputing
from duel.policies.tuning import Tuning
from duel.settings import AnchorSettings, GRPOSettings
from duel.types import Completion, Group, ModelInput


@dataclass(frozen=True)
class LearningSettings:
    """Settings of an update."""

    grpo: GRPOSettings
    temperature: float
    max_new_tokens: int  # divisor of the "constant" length normalisation
    rows_per_forward: int  # completions per forward pass
    gradient_checkpointing: bool
    anchor: AnchorSettings = field(default_factory=AnchorSettings)


@dataclass(frozen=True)
class Row:
    """One training row: a completion with its advantage."""

    prompt: int  # index among the distinct inputs
    tokens: list[int]
    advantage: float
    weight: float  # of each token in the loss, from `token_weights`
    sampled_logprobs: list[float]  # of its tokens at sampling; empty: not known


@dataclass(frozen=True)
class Batch:
    """One round's distinct inputs, and its completions with an advantage."""

    inputs: list[ModelInput]
    rows: list[Row]
    skipped_groups: int


@dataclass(frozen=True)
class Accumulated:
    """The loss of one round, and how far its log-probabilities are from those at sampling and before training."""

    loss: float
    gaps: Tensor  # (n,) on the CPU: |log-probability now - at sampling| per token with known sampling log-probability
    divergences: Tensor  # (m,) on the CPU: k3 estimate of KL(now || before training) per token that was measured

    @property
    def mean_gap(self) -> float | None:
        """Mean over all tokens; None if no sampling log-probability is known."""
        return self.gaps.mean(dtype=torch.float64).item() if len(self.gaps) else None

    @property
    def largest_gap(self) -> float | None:
        """Maximum over all tokens; None if no sampling log-probability is known."""
        return self.gaps.max().item() if len(self.gaps) else None

    @property
    def divergence(self) -> float | None:
        """Mean KL to the untrained model in nats per token; None if it was not measured."""
        return self.divergences.mean(dtype=torch.float64).item() if len(self.divergences) else None


def build_batch(inputs: Sequence[ModelInput], groups: Sequence[Group], settings: LearningSettings) -> Batch:
    """Compute advantages and token weights of a round's completions; group i belongs to input i.

    With a KL penalty every completion is a row: one without an advantage has 0, and contributes its penalty alone.
    """
    penalised = settings.grpo.kl_coef > 0
    asked, place = distinct(inputs)
    lengths = [len(completion.tokens) for group in groups for completion in group.completions]
    weights = iter(token_weights(lengths, settings.grpo.length_normalisation, settings.max_new_tokens))
    rows: list[Row] = []
    skipped = 0
    for prompt, group in zip(place, groups, strict=True):
        values = advantages([attempt.reward for attempt in group.attempts], settings.grpo.advantage)
        if values is None:
            skipped, values = skipped + 1, [None] * len(group.completions)
        for completion, value in zip(group.completions, values, strict=True):
            weight = next(weights)
            if completion.tokens and (penalised or value is not None):
                rows.append(Row(prompt, completion.tokens, value or 0.0, weight, _sampled_logprobs(completion)))
    return Batch(asked, rows, skipped)


def any_unmeasured(groups: Sequence[Group]) -> bool:
    """Return whether an attempt has both images and no similarity: an embedding was not finite."""
    attempts = (attempt for group in groups for attempt in group.attempts)
    return any(a.similarity is None and a.original.key and a.reconstruction.key for a in attempts)


def finite(value: float | None) -> float | None:
    """Return a number, or None where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def _sampled_logprobs(completion: Completion) -> list[float]:
    logprobs, tokens = completion.logprobs, len(completion.tokens)
    if logprobs and len(logprobs) != tokens:
        raise ValueError(
            f"a completion of {tokens} tokens has {len(logprobs)} log-probabilities; expected one for each token, or "
            "none: check `sample` of the policy"
        )
    return logprobs


def accumulate_gradient(tuning: Tuning, batch: Batch, settings: LearningSettings, accumulation: int) -> Accumulated:
    """Add 1 / `accumulation` of the batch's gradient to the parameters' gradients; return what was measured.

    Splitting into forward passes does not change the gradient: token weights are computed over the whole batch. The
    untrained model scores every row where there is a KL penalty, else those of the first forward pass alone: enough to
    see how far the player has moved.
    """
    loss, gaps, divergences = 0.0, [torch.empty(0)], [torch.empty(0)]
    with recomputing(tuning.model.network, settings.gradient_checkpointing):
        for prompts, rows in _slices(batch, settings.rows_per_forward):
            prefix = _encode(tuning.model, batch, prompts)
            scores = bool(settings.grpo.kl_coef) or (tuning.has_reference and len(divergences) == 1)
            reference = _encode_untrained(tuning, batch, prompts) if scores else None
            gathered = prefix.detached()
            for part in chunks(len(rows), settings.rows_per_forward):
                part_loss, scored = _rows_loss(tuning, gathered, reference, prompts, rows[part], settings)
                (part_loss / accumulation).backward()  # type: ignore[no-untyped-call]
                loss += part_loss.item()
                gaps.append(logprob_gaps(scored.logprobs_BT, [row.sampled_logprobs for row in rows[part]]))
                divergences.append(scored.divergences)
                reference = reference if settings.grpo.kl_coef else None
            prefix.backward(gathered)
    return Accumulated(loss, torch.cat(gaps), torch.cat(divergences))


@dataclass(frozen=True)
class Scored:
    """What one forward pass found, without gradients."""

    logprobs_BT: Tensor  # (B, T)
    divergences: Tensor  # (m,) on the CPU, one per token; empty where the untrained model did not score the rows


def logprob_gaps(logprobs_BT: Tensor, sampled: Sequence[Sequence[float]]) -> Tensor:
    """Return |log-probability now - at sampling| of all tokens with known sampling log-probability, (n,) on the CPU."""
    rows = zip(logprobs_BT.cpu(), sampled, strict=True)
    return torch.cat([(now_T[: len(then)] - torch.tensor(then)).abs() for now_T, then in rows])


def chunks(count: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover `count` items."""
    return (slice(start, start + size) for start in range(0, count, size))


def _slices(batch: Batch, rows_per_forward: int) -> Iterator[tuple[list[int], list[Row]]]:
    """Yield prompts with all their rows: as many prompts at a time as fill one forward pass."""
    used = sorted({row.prompt for row in batch.rows})
    if not used:
        return
    rows_per_prompt = -(-len(batch.rows) // len(used))
    for part in chunks(len(used), max(1, rows_per_forward // rows_per_prompt)):
        prompts = used[part]
        yield prompts, [row for row in batch.rows if row.prompt in prompts]


def _encode(model: Model, batch: Batch, prompts: list[int]) -> Prefix:
    return encode_prompts(model, build_prompts(model, [batch.inputs[prompt] for prompt in prompts]))


@torch.no_grad()
def _encode_untrained(tuning: Tuning, batch: Batch, prompts: list[int]) -> Prefix:
    with tuning.reference() as model:
        return _encode(model, batch, prompts)


def _rows_loss(
    tuning: Tuning,
    prefix: Prefix,
    reference: Prefix | None,
    prompts: list[int],
    rows: list[Row],
    settings: LearningSettings,
) -> tuple[Tensor, Scored]:
    """Return the rows' part of the loss, and the scores of their tokens."""
    device = tuning.model.device
    place = torch.tensor([prompts.index(row.prompt) for row in rows], device=device)
    tokens_BT = pack_rows(tuning.model, [row.tokens for row in rows])
    lengths_B = torch.tensor([len(row.tokens) for row in rows], device=device)
    mask_BT = torch.arange(tokens_BT.shape[1], device=device) < lengths_B[:, None]
    weights_BT = torch.tensor([row.weight for row in rows], device=device)[:, None] * mask_BT
    advantages_B = torch.tensor([row.advantage for row in rows], device=device)

    logprobs_BT = completion_logprobs(tuning.model, prefix.expand(place), tokens_BT, settings.temperature)
    reference_BT, divergences = None, torch.empty(0)
    if reference is not None:
        with torch.no_grad(), tuning.reference() as model:
            reference_BT = completion_logprobs(model, reference.expand(place), tokens_BT, settings.temperature)
            divergences = kl_estimate(logprobs_BT.detach(), reference_BT)[mask_BT].float().cpu()
    penalised_BT = reference_BT if settings.grpo.kl_coef else None
    loss = grpo_loss(logprobs_BT, advantages_B, weights_BT, penalised_BT, settings.grpo.kl_coef)
    return loss, Scored(logprobs_BT.detach(), divergences)
