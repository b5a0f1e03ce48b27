"""Time and memory of one base and one adversary round of `day3`, on models of its shapes with random weights.

    python -m benchmarks.day3_round                    LoRA and full, at 224 px and at the profile's resolution
    python -m benchmarks.day3_round --tuning lora --sides 224
    python -m benchmarks.day3_round --model qwen3.5-0.8b --tuning lora --sides 224

Prints seconds per stage and peak memory, and how far log-probabilities at sampling are from those of scoring. Image
generation is left out (it happens elsewhere); noise images stand in. On the CPU the models are tiny and only show that
it runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import io
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import Dinov2Config, Dinov2Model

from benchmarks.sampling import Stopwatch
from benchmarks.shapes import SHAPES, build_model
from duel.devices import choose_device
from duel.embedder import Embedder
from duel.policies.attention import GROUPED_SDPA
from duel.policies.load import add_lora, assemble_policy
from duel.policies.models import Model
from duel.policies.policy import LocalPolicy
from duel.policies.tuning import FullTuning
from duel.settings import Settings
from duel.settings.profile import read_settings
from duel.types import Completion, Group, ModelInput, Player
from tests.support import tiny

GROUP, TOKENS = 8, 512  # the profile's
PLAYERS: tuple[Player, Player] = ("base", "adversary")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day3_round", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", choices=list(SHAPES), default="qwen2.5-vl-3b", help="whose shape the players have")
    parser.add_argument("--tuning", nargs="+", choices=["lora", "full"], default=["lora", "full"])
    parser.add_argument("--sides", type=int, nargs="+", default=[224, 1001], help="side of the square images, pixels")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    device = choose_device(options.device)
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, torch {torch.__version__}")
    watch = Stopwatch(device)
    embedder = build_embedder(device)
    for tuning in options.tuning:
        players = build_players(device, tuning, options.model)
        for side in options.sides:
            batch = f"{GROUP} completions of {options.tokens} tokens"
            print(f"-- {options.model}, {tuning}, {side} px, {batch}, gradient checkpointing")
            play(players, embedder, side, options.tokens, watch)
            compare_logprobs(players["base"], side, options.tokens)
        del players
        gc.collect()


def build_players(device: torch.device, tuning: str, name: str) -> dict[Player, LocalPolicy]:
    """Return both players: two adapters on one backbone, or two fp32 models."""
    settings: Settings = read_settings(
        {
            "models": {"tuning": tuning, "lora_rank": 32, "gradient_checkpointing": True, "rows_per_forward": 8},
            "sampling": {"max_new_tokens": TOKENS},
        }
    )
    if tuning == "lora":
        model = with_grouped_attention(build_model(device, name))
        tunings: dict[Player, Any] = dict(add_lora(dict.fromkeys(PLAYERS, model), settings))
    else:
        tunings = {
            player: FullTuning(in_fp32(with_grouped_attention(build_model(device, name))), None) for player in PLAYERS
        }
    return {player: assemble_policy(player, tunings[player], settings) for player in PLAYERS}


def with_grouped_attention(model: Model) -> Model:
    """Set the attention implementation that Duel decodes with."""
    model.network.set_attn_implementation(GROUPED_SDPA)
    return model


def in_fp32(model: Model) -> Model:
    """Convert the weights to fp32; computes in the original dtype."""
    return dataclasses.replace(model, network=model.network.float(), compute_dtype=model.compute_dtype)


def build_embedder(device: torch.device) -> Embedder:
    """Return DINOv2-large (tiny on the CPU) with random weights."""
    large = device.type == "cuda"
    config = Dinov2Config(
        hidden_size=1024 if large else 64,
        num_hidden_layers=24 if large else 2,
        num_attention_heads=16 if large else 2,
        image_size=518,
    )
    return Embedder(Dinov2Model(config).to(device), 224, [0.5] * 3, [0.5] * 3)


def play(players: dict[Player, LocalPolicy], embedder: Embedder, side: int, tokens: int, watch: Stopwatch) -> None:
    """Run the stages of a base round and an adversary round, twice; the second pass is reported."""
    invent, drawings = ModelInput("Describe a plot."), [noise(side, i) for i in range(2 * GROUP)]
    describe = [ModelInput("Describe this image.", drawing) for drawing in drawings]
    base, adversary = players["base"], players["adversary"]
    for attempt, clock in ((1, None), (2, watch)):
        measure = clock or (lambda _label, run: run())
        measure("base round: write one prompt", lambda: sample(adversary, [invent], 1, tokens))
        described = kept(measure, "base round: describe one drawing 8 times", base, describe[:1], GROUP, tokens)
        measure("base round: embed 9 images", lambda: embedder.embed(drawings[:9]))
        measure("base round: learn", lambda: base.learn(describe[:1], rewarded(described)))  # noqa: B023
        written = kept(measure, "adversary round: write 8 prompts", adversary, [invent], GROUP, tokens)
        measure("adversary round: describe 8 drawings", lambda: sample(base, describe[:GROUP], 1, tokens))
        measure("adversary round: embed 16 images", lambda: embedder.embed(drawings))
        measure("adversary round: learn", lambda: adversary.learn([invent], rewarded(written)))  # noqa: B023
        if attempt == 1:
            print("   (first round done: steps captured, optimizer states allocated)", flush=True)


def compare_logprobs(base: LocalPolicy, side: int, tokens: int) -> None:
    """Print how far the log-probabilities of sampling and of scoring are apart, and which decoder sampled."""
    inputs = [ModelInput("Describe this image.", noise(side, i)) for i in range(2)]
    seeds = [list(range(100 * i, 100 * i + GROUP)) for i in range(2)]
    sampled = base.sample_rows(inputs, seeds, temperature=0.9, max_new_tokens=tokens).logprobs_BT
    completions = base.sample(inputs, seeds, temperature=0.9, max_new_tokens=tokens)
    scores = [row for group in base.logprobs(inputs, completions, temperature=0.9) for row in group]
    gaps = torch.cat([torch.tensor(row) - sampled[i, : len(row)].cpu() for i, row in enumerate(scores)]).abs()
    decoder = "a CUDA graph" if base.decoder is not None else "a loop"
    print(
        f"   sampled by {decoder}; log-probabilities of {len(gaps)} tokens at sampling and at scoring differ by "
        f"{gaps.mean():.4f} on average, {gaps.quantile(0.99):.4f} at most in 99 %, {gaps.max():.4f} at most"
    )


def kept(measure: Any, label: str, policy: LocalPolicy, inputs: list[ModelInput], count: int, tokens: int) -> Any:
    """Measure sampling and return the completions."""
    found: list[Any] = []
    measure(label, lambda: found.extend(sample(policy, inputs, count, tokens)))
    return found


def sample(policy: LocalPolicy, inputs: list[ModelInput], count: int, tokens: int) -> list[list[Completion]]:
    """Sample `count` completions of each input."""
    seeds = [[100 * i + g for g in range(count)] for i in range(len(inputs))]
    return policy.sample(inputs, seeds, temperature=0.9, max_new_tokens=tokens)


def rewarded(completions: list[list[Completion]]) -> list[Group]:
    """Return groups in which every completion has a different reward."""
    return [tiny.group(group, [0.1 * place for place in range(len(group))]) for group in completions]


def noise(side: int, seed: int) -> bytes:
    """Return a square PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
