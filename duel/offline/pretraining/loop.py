"""Optimizer loop for pre-training: AdamW, warm-up and cosine decay, bounded by steps and by wall-clock time."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class TrainingLoop:
    """AdamW with gradient clipping, for at most `arguments.steps` steps and `arguments.minutes` minutes.

    The learning rate rises linearly over `warmup` steps and decays to 0 as a half cosine of the progress: the used
    share of steps or of time, whichever is larger.
    """

    def __init__(self, model: Any, arguments: argparse.Namespace, warmup: int) -> None:
        self.model = model
        self.arguments = arguments
        self.warmup = warmup
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=arguments.learning_rate, weight_decay=0.02, betas=(0.9, 0.98)
        )
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the loop was created."""
        return time.monotonic() - self.started

    def steps(self) -> Iterator[int]:
        """Yield step numbers, with the learning rate set for each, until steps or time are used up."""
        for step in range(self.arguments.steps):
            progress = max(step / self.arguments.steps, self.seconds / (60 * self.arguments.minutes))
            if progress >= 1:
                return
            rise, fall = min(1.0, (step + 1) / self.warmup), 0.5 + 0.5 * math.cos(math.pi * progress)
            self.optimizer.param_groups[0]["lr"] = self.arguments.learning_rate * rise * fall
            yield step

    def step(self, loss: Tensor) -> None:
        """Backpropagate `loss`, clip the gradient norm to 1, and take one optimizer step."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def report_due(self, step: int) -> bool:
        """Whether a progress line is due."""
        return bool(step % self.arguments.report == 0)

    def save_due(self, step: int) -> bool:
        """Whether an intermediate save is due."""
        return bool(step and step % (20 * self.arguments.report) == 0)
