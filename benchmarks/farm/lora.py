"""LoRA adapters of many runs, stacked, with an AdamW of their own: each run has its own norm, step count and rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, ALPHA = 16, 32.0
BETAS, EPSILON, MOST_NORM = (0.9, 0.99), 1e-8, 1.0


def find_linear(layer: Any, name: str) -> Any:
    """Return a decoder layer's linear module."""
    return getattr(layer.self_attn if name in ("q_proj", "k_proj", "v_proj", "o_proj") else layer.mlp, name)


class StackedLora:
    """One player's adapters of all runs."""

    def __init__(self, layers: Sequence[Any], seeds: Sequence[int], rates: Sequence[float], device: torch.device):
        self.pairs: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}  # (runs, in, rank) and (runs, rank, out)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for number, layer in enumerate(layers):
            for name in LINEARS:
                linear = find_linear(layer, name)
                width, bound = linear.in_features, 1 / math.sqrt(linear.in_features)
                down = torch.stack([(torch.rand(width, RANK, generator=g) * 2 - 1) * bound for g in generators])
                up = torch.zeros(len(seeds), RANK, linear.out_features)
                self.pairs[number, name] = (down.to(device).requires_grad_(), up.to(device).requires_grad_())
        self.parameters = [tensor for pair in self.pairs.values() for tensor in pair]
        self.first_moments = [torch.zeros_like(tensor) for tensor in self.parameters]
        self.second_moments = [torch.zeros_like(tensor) for tensor in self.parameters]
        self.steps = torch.zeros(len(seeds), device=device)
        self.rates = torch.tensor(rates, device=device)

    def change(self, layer: int, name: str, runs: Tensor | None) -> Tensor:
        """Return what the adapters of `runs`, (A,), add to a weight, (A, in, out)."""
        down, up = self.pairs[layer, name]
        return ALPHA / RANK * torch.bmm(down[runs], up[runs])

    @torch.no_grad()
    def step(self, runs: Tensor) -> None:
        """Make a step of AdamW (no decay) with these runs' gradients, each clipped to a norm of 1; clear gradients."""
        if not len(runs):
            return
        gradients = [tensor.grad[runs] for tensor in self.parameters]  # type: ignore[index]
        norms = torch.stack([gradient.pow(2).sum((1, 2)) for gradient in gradients]).sum(0).sqrt()
        scale = (MOST_NORM / (norms + 1e-6)).clamp(max=1.0)[:, None, None]
        self.steps[runs] += 1
        steps, rates = self.steps[runs][:, None, None], self.rates[runs][:, None, None]
        moments = zip(self.parameters, self.first_moments, self.second_moments, gradients, strict=True)
        for tensor, first, second, gradient in moments:
            clipped = gradient * scale
            m = BETAS[0] * first[runs] + (1 - BETAS[0]) * clipped
            v = BETAS[1] * second[runs] + (1 - BETAS[1]) * clipped**2
            first[runs], second[runs] = m, v
            change = m / (1 - BETAS[0] ** steps) / ((v / (1 - BETAS[1] ** steps)).sqrt() + EPSILON)
            tensor[runs] = tensor[runs] - rates * change
            tensor.grad = None
