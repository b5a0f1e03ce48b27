"""AdamW over one player's fp32 weights, with gradient accumulation counted in that player's own rounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from duel.errors import DamagedError, RunError
from duel.settings import OptimizerSettings

TENSORS = "training_state.safetensors"
COUNTERS = "training_state.json"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class PlayerOptimizer:
    """Takes one optimizer step per `accumulation` rounds of this player.

    Rounds are counted per player: counted over all rounds of alternating players, an even accumulation would never
    let the first player step.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        settings: OptimizerSettings,
        accumulation: int,
    ) -> None:
        self.parameters = parameters
        self.accumulation = accumulation
        self.max_gradient_norm = settings.max_gradient_norm
        self.rounds_learned = 0
        self.steps = 0
        self.skipped = 0  # rounds whose update was skipped
        self.adamw = torch.optim.AdamW(
            parameters.values(),
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
        )

    def end_round(self) -> float | None:
        """Count a round; if it completes an accumulation window, clip the gradients and step.

        Returns the gradient norm before clipping, or None when no step was taken, because the window is not complete
        or no round in it had a gradient. Raises RuntimeError for a gradient norm that is not finite.
        """
        self.rounds_learned += 1
        if self.rounds_learned % self.accumulation:
            return None
        gathered = [parameter for parameter in self.parameters.values() if parameter.grad is not None]
        if not gathered:
            return None
        norm = torch.nn.utils.clip_grad_norm_(gathered, self.max_gradient_norm, error_if_nonfinite=True)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        self.steps += 1
        return float(norm)

    def is_finite(self) -> bool:
        """Whether the norm of the accumulated gradients is finite."""
        gathered = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        return not gathered or bool(torch.nn.utils.get_total_norm(gathered).isfinite())

    def skip_round(self) -> None:
        """Count a round that nothing can be learned from; the gradients accumulated in its window are dropped.

        A sum cannot be freed of a part that is not finite. Weights and moments stay.
        """
        self.rounds_learned += 1
        self.skipped += 1
        self.adamw.zero_grad(set_to_none=True)

    def save(self, directory: Path) -> None:
        """Write weights, moments, accumulated gradients and counters into a directory."""
        directory.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            tensors[f"weight/{name}"] = parameter.detach()
            if parameter.grad is not None:
                tensors[f"gradient/{name}"] = parameter.grad
            for moment, value in self.adamw.state.get(parameter, {}).items():
                tensors[f"{moment}/{name}"] = value
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, directory / TENSORS)
        counters = {
            "rounds_learned": self.rounds_learned,
            "optimizer_steps": self.steps,
            "skipped_updates": self.skipped,
        }
        (directory / COUNTERS).write_text(json.dumps(counters) + "\n", encoding="utf-8")

    @torch.no_grad()
    def load(self, directory: Path) -> None:
        """Restore all of it bit for bit.

        Raises DamagedError when a file cannot be read, RunError when it does not fit these weights.
        """
        try:
            tensors = load_file(directory / TENSORS)
            counters = json.loads((directory / COUNTERS).read_text(encoding="utf-8"))
        except (OSError, ValueError, SafetensorError) as error:
            raise DamagedError(f"cannot read the training state in {directory}: {error}") from error
        for name, parameter in self.parameters.items():
            weight = tensors.get(f"weight/{name}")
            if weight is None or weight.shape != parameter.shape:
                raise RunError(
                    f"the training state in {directory} has no weight {name} of shape {tuple(parameter.shape)}"
                )
            parameter.copy_(weight)
            gradient = tensors.get(f"gradient/{name}")
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
            moments = {moment: tensors[f"{moment}/{name}"] for moment in MOMENTS if f"{moment}/{name}" in tensors}
            # AdamW keeps its step count on the CPU and the moments on the weights' device.
            self.adamw.state[parameter] = {
                moment: value if moment == "step" else value.to(parameter.device) for moment, value in moments.items()
            }
        self.rounds_learned, self.steps = int(counters["rounds_learned"]), int(counters["optimizer_steps"])
        self.skipped = int(counters.get("skipped_updates", 0))  # older files have none
