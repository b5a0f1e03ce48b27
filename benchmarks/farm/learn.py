"""Gradients of both players for many runs at once.

Dimensions: A runs, N images of a run (1 for prompts), K completions of each, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.farm.decode import Sampler
from benchmarks.farm.lora import StackedLora
from benchmarks.farm.model import ANSWER_TOKENS, MOST_TOKENS, Prompt
from benchmarks.farm.questions import ANCHORS
from benchmarks.farm.runs import Run, slices, stack_uniforms
from duel import instructions
from duel.grpo import kl_estimate

ROWS = 5120  # completions in one forward and backward pass
ANCHOR_IMAGES, ANCHOR_TOKENS = 8, 6
LAST_TOKENS = 5  # of an answer after a description: line break, `Answer`, `:`, the answer, end


@dataclass(frozen=True)
class Sampled:
    """Completions of one prompt in one round."""

    prompt: Prompt
    images: Tensor | None  # (A, N, image tokens, width)
    tokens: Tensor  # (A, N, K, T)
    lengths: Tensor  # (A, N, K) end token included; 0: unfinished at the limit

    def __getitem__(self, places: slice | list[int]) -> Sampled:
        """Return some of the runs."""
        images = None if self.images is None else self.images[places]
        return Sampled(self.prompt, images, self.tokens[places], self.lengths[places])


@dataclass(frozen=True)
class Objective:
    """How runs' completions are weighted in the loss, one row per run."""

    advantages: Tensor  # (A, N, K)
    kl: Sequence[float]  # coefficients of the penalty
    by_completion: Sequence[bool]  # each token weighs 1 / its completion's length, else 1 / the most tokens


def numbers_of(runs: Sequence[Run], device: torch.device) -> Tensor:
    """Return the runs' places in the stacked adapters, (A,)."""
    return torch.tensor([run.number for run in runs], device=device)


def add_grpo_gradient(
    sampler: Sampler, lora: StackedLora, runs: Tensor, sampled: Sampled, objective: Objective, temperature: float
) -> Tensor:
    """Add the GRPO gradient of these runs to the adapters; return each one's mean KL per token, (A,).

    One update from one set of samples: the ratio is 1 in value, as in `duel.grpo.grpo_loss`. Every completion pays the
    KL penalty, also in groups without signal.
    """
    model, device = sampler.model, sampled.tokens.device
    A, N, K, _ = sampled.tokens.shape
    lengths = sampled.lengths.masked_fill(sampled.lengths == 0, MOST_TOKENS)  # unfinished: all tokens count
    tokens = sampled.tokens[..., : int(lengths.max())]
    mask = torch.arange(tokens.shape[-1], device=device) < lengths[..., None]
    by_completion = torch.tensor(objective.by_completion, device=device)[:, None, None]
    weights = 1 / (N * K * torch.where(by_completion, lengths, MOST_TOKENS))[..., None] * mask

    def score(adapters: StackedLora | None) -> Tensor:
        merged = model.merge(adapters, runs, A)
        found = model.distributions(merged, sampled.prompt, sampled.images, tokens, temperature)
        return found.gather(-1, tokens[..., None]).squeeze(-1).masked_fill(~mask, 0.0)

    logprobs = score(lora)
    with torch.no_grad():
        reference = score(None)
    divergence = kl_estimate(logprobs, reference)
    ratio = (logprobs - logprobs.detach()).exp()
    coefficients = torch.tensor(objective.kl, device=device)[:, None, None, None]
    gain = ratio * (objective.advantages[..., None] - coefficients * divergence)
    (-(weights * gain).sum()).backward()
    return divergence.detach().sum((1, 2, 3)) / mask.sum((1, 2, 3))


def add_anchor_gradient(
    sampler: Sampler,
    lora: StackedLora,
    runs: Sequence[Run],
    images: Tensor,
    index: int,
    temperature: float,
    reasoned: bool,
) -> None:
    """Add the gradient of `anchor` times KL(untrained || base) on the untrained model's own answers.

    The answers are sampled from the untrained model, one for each of a run's images, (A, N, image tokens, width); the
    divergence is exact at each of their tokens, summed over them, and averaged over images. Of answers after a
    description only the last tokens count: descriptions are what training is to change.
    """
    model = sampler.model
    how, most = instructions.ANSWER, ANCHOR_TOKENS
    if reasoned:
        how, most = instructions.REASON, MOST_TOKENS + ANSWER_TOKENS
    prompt = model.prompt(how.format(question=ANCHORS[index // 2 % len(ANCHORS)]), True)
    uniforms = stack_uniforms(runs, (ANCHOR_IMAGES, 1, most), index, "anchor").to(model.device)
    with torch.no_grad():
        untrained = model.merge(None, None, len(runs))
        tokens, lengths = sampler.sample(untrained, prompt, images, uniforms, temperature)
        lengths = lengths.masked_fill(lengths == 0, most)[..., None]
        tokens = tokens[..., : int(lengths.max())]
        places = torch.arange(tokens.shape[-1], device=model.device)
        mask = (places < lengths) & (places >= (lengths - LAST_TOKENS if reasoned else 0))
        goal = model.distributions(untrained, prompt, images, tokens, temperature)
    merged = model.merge(lora, numbers_of(runs, model.device), len(runs))
    mine = model.distributions(merged, prompt, images, tokens, temperature)
    divergence = (goal.exp() * (goal - mine))[..., ~model.forbidden_V].sum(-1)
    strength = torch.tensor([run.arm.anchor for run in runs], device=model.device)[:, None, None, None]
    ((strength * divergence * mask).sum() / ANCHOR_IMAGES).backward()


def anchor_images(run: Run, index: int) -> list[int]:
    """Return the training images that the anchor asks about in a round, each in turn."""
    return [run.data[i % len(run.data)] for i in range(ANCHOR_IMAGES * index, ANCHOR_IMAGES * (index + 1))]


def slices_of_rows(sampled: Sampled) -> list[slice]:
    """Return slices of the runs that fit into one forward and backward pass."""
    A, N, K, _ = sampled.tokens.shape
    return slices(A, N * K, ROWS)
