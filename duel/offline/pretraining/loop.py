"""The loop that both embedded models are trained in."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class Descent:
    """AdamW until the steps or the minutes of the command line are used up.

    The learning rate rises over `warmup` steps and falls as a half cosine to 0 over what there is to use up.
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
        """Seconds since the beginning."""
        return time.monotonic() - self.started

    def steps(self) -> Iterator[int]:
        """Yield the numbers of the steps, with the learning rate set for each."""
        for step in range(self.arguments.steps):
            progress = max(step / self.arguments.steps, self.seconds / (60 * self.arguments.minutes))
            if progress >= 1:
                return
            rise, fall = min(1.0, (step + 1) / self.warmup), 0.5 + 0.5 * math.cos(math.pi * progress)
            self.optimizer.param_groups[0]["lr"] = self.arguments.learning_rate * rise * fall
            yield step

    def step(self, loss: Tensor) -> None:
        """Take one step down the gradient of `loss`, clipped to norm 1."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def reports(self, step: int) -> bool:
        """Tell whether a line of progress is due."""
        return bool(step % self.arguments.report == 0)

    def saves(self, step: int) -> bool:
        """Tell whether the model should be saved on the way."""
        return bool(step and step % (20 * self.arguments.report) == 0)
