"""Compares the farm's stacked model with `duel.policies` on the CPU: texts, log-probabilities, and a GRPO gradient.

    python -m benchmarks.farm.check

Both players get the same random adapters; the farm's stand in the second of two stacked runs. Exits with 1 where a text
differs, a log-probability by more than 1e-3, or a gradient by more than 1e-3 of its norm.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.farm.arms import Arm
from benchmarks.farm.charts import ChartImages
from benchmarks.farm.game import TEMPERATURE, Farm
from benchmarks.farm.learn import Objective, Sampled, add_grpo_gradient
from benchmarks.farm.lora import StackedLora
from benchmarks.farm.model import MOST_TOKENS, StackedModel
from benchmarks.farm.rewards import advantages_or_zeros
from duel import instructions
from duel.offline.charts import sample_chart
from duel.offline.pretraining.models import VLM_FOLDER
from duel.offline.renderer import encode, render
from duel.policies.load import load_players
from duel.policies.sampling import draw_uniforms
from duel.policies.update import accumulate_gradient, build_batch
from duel.randomness import sample_seeds
from duel.settings import Settings
from duel.types import Attempt, Drawing, Group, ModelInput

K, KL = 4, 0.2
TOLERANCE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vlm", type=Path, default=VLM_FOLDER, help="folder of the base; default: the embedded one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = StackedModel(options.vlm, torch.device("cpu"))
    images = ChartImages(1, slots=64)
    images.load(model)
    farm = Farm([("left", Arm(train_images=2), 1), ("right", Arm(train_images=2), 2)], images, model)
    players = load_players(project_settings(options.vlm))
    charts = [sample_chart(random.Random(i)) for i in range(2)]
    drawn = images.tokens_of([images.draw_charts(charts)] * 2)
    inputs = [ModelInput(instructions.DESCRIBE, encode(render(chart))) for chart in charts]
    passed = [
        compare("base", players["base"], farm, inputs, drawn),
        compare("adversary", players["adversary"], farm, [ModelInput(instructions.INVENT)], None),
    ]
    sys.exit(0 if all(passed) else 1)


def project_settings(folder: Path) -> Settings:
    player = {
        "grpo": {"kl_coef": KL, "length_normalisation": "constant"},
        "optimizer": {"learning_rate": 1e-3, "weight_decay": 0.0, "max_gradient_norm": 1e9},
    }
    return Settings.model_validate(
        {
            "seed": 3,
            "originals": "adversary",
            "order": ["base", "adversary"],
            "models": {"base": str(folder.resolve()), "lora_rank": 16, "lora_alpha": 32.0, "device": "cpu"},
            "sampling": {"group_size": K, "temperature": TEMPERATURE, "max_new_tokens": MOST_TOKENS},
            "base": player,
            "adversary": player,
        }
    )


def compare(player: str, policy: Any, farm: Farm, inputs: list[ModelInput], images: Tensor | None) -> bool:
    """Sample, score and differentiate the same completions on both sides; print the differences."""
    lora = farm.base if player == "base" else farm.adversary
    parameters = copy_random_adapters(policy, lora, player)
    seeds = sample_seeds(1, len(inputs), K, "check")
    theirs = policy.sample(inputs, seeds, temperature=TEMPERATURE, max_new_tokens=MOST_TOKENS)
    reference = [completion.text for row in theirs for completion in row]
    sampled = sample_both(farm, player, seeds, images)
    texts = farm.model.decode(sampled.tokens[1])
    gap = logprob_gap(farm, lora, sampled, policy.logprobs(inputs, theirs, temperature=TEMPERATURE))

    rewards = [[random.Random(10 * i + j).random() for j in range(K)] for i in range(len(inputs))]
    drawing = Drawing("", 0, "key")
    groups = [
        Group(row, [Attempt(drawing, drawing, reward, reward) for reward in given])
        for row, given in zip(theirs, rewards, strict=True)
    ]
    with policy.tuning.active():
        accumulate_gradient(policy.tuning, build_batch(inputs, groups, policy.settings), policy.settings, 1)
    advantages = torch.tensor([[advantages_or_zeros(given) for given in rewards]] * 2)
    objective = Objective(advantages, [KL] * 2, [False] * 2)
    add_grpo_gradient(farm.sampler, lora, torch.tensor([0, 1]), sampled, objective, TEMPERATURE)
    squares = [
        ((parameter.grad - ours.grad[1].T).pow(2).sum(), parameter.grad.pow(2).sum()) for parameter, ours in parameters
    ]
    difference = float(sum(square for square, _ in squares) / sum(square for _, square in squares)) ** 0.5
    equal = sum(one == other for one, other in zip(texts, reference, strict=True))
    print(
        f"{player}: {equal} of {len(texts)} texts equal, log-probabilities within {gap:.1e}, gradient {difference:.1e}"
    )
    return equal == len(texts) and gap < TOLERANCE and difference < TOLERANCE


def copy_random_adapters(policy: Any, lora: StackedLora, player: str) -> list[tuple[Any, Any]]:
    """Give both sides the same adapters; return pairs of (the policy's parameter, the farm's stacked one)."""
    generator, pairs = torch.Generator().manual_seed(0), []
    for (number, name), tensors in lora.pairs.items():
        for part, stacked in zip(("lora_A", "lora_B"), tensors, strict=True):
            known = policy.tuning.parameters
            key = next(k for k in known if f"layers.{number}." in k and f".{name}.{part}.{player}." in k)
            with torch.no_grad():
                known[key].copy_(torch.randn(known[key].shape, generator=generator) * 0.05)
                stacked[1].copy_(known[key].T)
            pairs.append((known[key], stacked))
    return pairs


def sample_both(farm: Farm, player: str, seeds: list[list[int]], images: Tensor | None) -> Sampled:
    """Sample for both stacked runs with the same random numbers."""
    prompt = farm.describe_prompt if player == "base" else farm.invent_prompt
    uniforms = torch.stack([draw_uniforms(row, MOST_TOKENS) for row in seeds])[None].expand(2, -1, -1, -1)
    lora = farm.base if player == "base" else farm.adversary
    with torch.no_grad():
        weights = farm.model.merge(lora, torch.tensor([0, 1]), 2)
    return Sampled(prompt, images, *farm.sampler.sample(weights, prompt, images, uniforms, TEMPERATURE))


@torch.no_grad()
def logprob_gap(farm: Farm, lora: StackedLora, sampled: Sampled, reference: list[list[list[float]]]) -> float:
    """Return the largest difference of a token's log-probability."""
    weights = farm.model.merge(lora, torch.tensor([0, 1]), 2)
    found = farm.model.distributions(weights, sampled.prompt, sampled.images, sampled.tokens, TEMPERATURE)
    ours = found.gather(-1, sampled.tokens[..., None]).squeeze(-1)[1]
    gaps = [
        (ours[i, j, : len(theirs)] - torch.tensor(theirs)).abs().max()
        for i, row in enumerate(reference)
        for j, theirs in enumerate(row)
    ]
    return float(max(gaps))


if __name__ == "__main__":
    main()
