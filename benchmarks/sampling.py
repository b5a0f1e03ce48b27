"""Time and memory of sampling and of one update, compared with calling `generate` once per image.

    python -m benchmarks.sampling                     CUDA: Qwen2.5-VL-3B's shape; CPU: a tiny one; random weights
    python -m benchmarks.sampling --rows 8 64 --tokens 256

Every completion has exactly --tokens tokens. `generate` uses its dynamic cache, one call per image.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import GenerationConfig

from benchmarks.shapes import build_model
from duel.devices import choose_device
from duel.instructions import DESCRIBE
from duel.policies.attention import GROUPED_SDPA
from duel.policies.inputs import build_prompts
from duel.policies.load import add_lora, assemble_policy
from duel.policies.models import Model
from duel.policies.policy import LocalPolicy
from duel.settings import Settings
from duel.settings.profile import read_settings
from duel.types import ModelInput
from tests.support import tiny

GROUP = 8
COLOURS = ("red", "green", "blue", "orange", "purple", "black", "cyan", "pink")


class Stopwatch:
    """Measures and prints wall-clock time and peak device memory."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def __call__(self, label: str, run: Callable[[], Any], steps: int = 0, times: int = 1) -> float:
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        if self.cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        line = f"{label:<58} {seconds:8.2f} s"
        line += f" {seconds / steps * 1e3:8.2f} ms/step" if steps else " " * 17
        if self.cuda:
            line += f" {torch.cuda.max_memory_allocated() / 2**30:6.1f} GiB"
        if times > 1:
            line += f"   x {times} images = {seconds * times:.1f} s"
        print(line, flush=True)
        return seconds


def generate(model: Model, given: ModelInput, tokens: int, images: int = 1) -> None:
    """Sample with `generate`, each image prefilled once per completion."""
    prompts = build_prompts(model, [given] * images)
    config = GenerationConfig(
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=True,
        temperature=0.9,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        num_return_sequences=GROUP,
        pad_token_id=0,
        eos_token_id=model.tokenizer.eos_token_id,
    )
    with torch.no_grad():
        model.network.generate(
            input_ids=prompts.input_ids_IP,
            attention_mask=prompts.attention_mask_IP,
            generation_config=config,
            **prompts.images,
        )


def sample(policy: LocalPolicy, inputs: list[ModelInput], tokens: int) -> Any:
    """Sample as Duel does: all images in one batch, each prefilled once."""
    seeds = [[GROUP * i + g for g in range(GROUP)] for i in range(len(inputs))]
    return policy.sample(inputs, seeds, temperature=0.9, max_new_tokens=tokens)


def measure_update(policy: LocalPolicy, inputs: list[ModelInput], completions: Any, watch: Stopwatch) -> None:
    """Time one update, with and without gradient checkpointing."""
    groups = [tiny.group(group, [0.1 * k for k in range(GROUP)]) for group in completions]
    rows = GROUP * len(inputs)
    for checkpointing in (False, True):
        policy.settings = dataclasses.replace(policy.settings, gradient_checkpointing=checkpointing)
        label = f"update, {rows} rows" + (", gradient checkpointing" if checkpointing else "")
        policy.learn(inputs[:1], groups[:1])  # warm-up
        watch(label, lambda: policy.learn(inputs, groups))


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 64], help="completions per batch, multiples of 8")
    parser.add_argument("--tokens", type=int, default=256, help="tokens per completion (default: 256)")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels (default: 224)")
    parser.add_argument("--rows-per-forward", type=int, default=8, help="completions per forward pass of the update")
    parser.add_argument("--no-generate", action="store_true", help="leave out the comparison with generate")
    arguments = parser.parse_args()
    if any(rows % GROUP or rows < GROUP for rows in arguments.rows):
        parser.error(f"--rows: got {arguments.rows}, expected multiples of {GROUP}")
    transformers.logging.set_verbosity_error()

    device = choose_device(arguments.device)
    watch = Stopwatch(device)
    model = build_model(device)
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {parameters / 1e9:.3f} G parameters, {arguments.tokens} new tokens")
    pictures = [ModelInput(DESCRIBE, tiny.picture(colour, (arguments.size,) * 2)) for colour in COLOURS]

    if not arguments.no_generate:
        model.network.set_attn_implementation("sdpa")
        generate(model, pictures[0], 4)  # warm-up
        images = max(arguments.rows) // GROUP
        label = "generate, dynamic cache, 8 rows: one call for one image"
        watch(label, lambda: generate(model, pictures[0], arguments.tokens), arguments.tokens, times=images)
        if images > 1:
            tokens = max(1, arguments.tokens // 4)
            label = f"generate, {images * GROUP} rows in one call, {tokens} tokens"
            watch(label, lambda: generate(model, pictures[0], tokens, images), tokens)

    model.network.set_attn_implementation(GROUPED_SDPA)
    policy = lora_policy(model, arguments.rows_per_forward)
    for rows in arguments.rows:
        inputs = [pictures[i % len(pictures)] for i in range(rows // GROUP)]
        watch(f"ours, {rows} rows, first call of this shape", lambda: sample(policy, inputs, arguments.tokens))  # noqa: B023
        completions: list[Any] = []
        watch(
            f"ours, {rows} rows",
            lambda: completions.extend(sample(policy, inputs, arguments.tokens)),  # noqa: B023
            arguments.tokens,
        )
        policy.decoder = None
        measure_update(policy, inputs, completions, watch)


def lora_policy(model: Model, rows_per_forward: int) -> LocalPolicy:
    """Return a policy with a LoRA adapter on the model."""
    settings: Settings = read_settings({"models": {"rows_per_forward": rows_per_forward}})
    return assemble_policy("base", add_lora({"base": model}, settings)["base"], settings)


if __name__ == "__main__":
    main()
