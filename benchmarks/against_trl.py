"""The base's half of a round, by Duel and by TRL's `GRPOTrainer`: completions sampled, rewarded and learned from.

Both train a LoRA adapter of the embedded vision-language model on the same charts of the offline data set: 4 images a
step, 8 descriptions each, 64 tokens at most, temperature 0.9. Both call the same reward function: each distinct
description is drawn, embedded, and compared with its chart. Neither runs Prefect, keeps images or writes records.
Steps of the two take turns in one process, so that other load on the machine slows both.
Run: python -m benchmarks.against_trl --steps 20
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from duel.embedder import Embedder, load_embedder
from duel.offline.dataset import write_dataset
from duel.offline.embedded import OFFLINE_WEIGHTS
from duel.offline.generator import ChartGenerator
from duel.policies.load import load_players
from duel.policies.models import language_linears, load_model
from duel.randomness import draw_seed, sample_seeds
from duel.schedule import images_of_turn
from duel.settings import Settings
from duel.settings.profile import read_profile, read_settings
from duel.types import Attempt, Drawing, Group, ModelInput
from flows.profiles import profile_path

WARM_UP = 2  # steps not timed
PROFILE = "offline-reference"


class Rewards:
    """Similarity of each chart to what is drawn from its descriptions."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.generator = ChartGenerator()

    def of(self, charts: Sequence[bytes], descriptions: Sequence[Sequence[str]], step: int) -> list[list[float]]:
        """Return the rewards, (I, G)."""
        drawn: dict[tuple[int, str], bytes] = {}
        for i, group in enumerate(descriptions):
            for text in set(group):
                drawn[i, text] = self.generator.draw(text, draw_seed(0, step, i)).data
        images = [*charts, *drawn.values()]
        embeddings = self.embedder.embed(images)
        place = {key: len(charts) + n for n, key in enumerate(drawn)}
        return [
            [float(embeddings[i] @ embeddings[place[i, text]]) for text in group]
            for i, group in enumerate(descriptions)
        ]


class Duel:
    """One step of the base by Duel's policy."""

    def __init__(self, settings: Settings, rewards: Rewards) -> None:
        self.settings, self.rewards = settings, rewards
        self.policy = load_players(settings, ["base"])["base"]

    def step(self, charts: list[bytes], step: int) -> list[int]:
        """Sample, reward, learn; return the completions' lengths in tokens."""
        sampling = self.settings.sampling
        inputs = [ModelInput(sampling.describe, chart) for chart in charts]
        seeds = sample_seeds(0, len(charts), sampling.group_size, step)
        sampled = self.policy.sample(
            inputs, seeds, temperature=sampling.temperature, max_new_tokens=sampling.max_new_tokens
        )
        rewards = self.rewards.of(charts, [[c.text for c in group] for group in sampled], step)
        nothing = Drawing("", 0, None)
        groups = [
            Group(group, [Attempt(nothing, nothing, reward, reward) for reward in earned])
            for group, earned in zip(sampled, rewards, strict=True)
        ]
        self.policy.learn(inputs, groups)
        return [len(c.tokens) for group in sampled for c in group]


class Turns:
    """Lets TRL's training loop, in a thread of its own, take one step each time it is asked to."""

    def __init__(self) -> None:
        self.may_go, self.has_gone = threading.Semaphore(0), threading.Semaphore(0)
        self.failure: BaseException | None = None

    def take(self) -> None:
        """Let the loop take a step and wait for its end; raises what the loop raised."""
        self.may_go.release()
        self.has_gone.acquire()
        if self.failure is not None:
            raise self.failure


class TRL:
    """The same steps by `GRPOTrainer`, at its defaults but for the values of the profile."""

    def __init__(self, settings: Settings, rewards: Rewards, charts: Sequence[bytes], steps: int, folder: Path) -> None:
        import trl
        from peft import LoraConfig

        self.rewards, self.lengths, self.step_now = rewards, list[int](), 0
        self.group_size, self.turns = settings.sampling.group_size, Turns()
        fp32 = torch.float32
        model = load_model(
            "offline", device=torch.device("cpu"), weights_dtype=fp32, compute_dtype=fp32, max_pixels=None
        )
        network = Qwen2_5_VLForConditionalGeneration.from_pretrained(OFFLINE_WEIGHTS / "vlm", dtype=fp32)
        special = model.forbidden_V.nonzero().flatten().tolist()
        config = trl.GRPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
            lr_scheduler_type="constant",
            max_steps=steps,
            gradient_checkpointing=False,
            shuffle_dataset=False,
            per_device_train_batch_size=settings.images_per_round * self.group_size,
            num_generations=self.group_size,
            max_completion_length=settings.sampling.max_new_tokens,
            temperature=settings.sampling.temperature,
            learning_rate=settings.base.optimizer.learning_rate,
            max_grad_norm=settings.base.optimizer.max_gradient_norm,
            loss_type="grpo",
            generation_kwargs={"suppress_tokens": special},  # else it crashes on a sampled image token
        )
        self.trainer: Any = trl.GRPOTrainer(
            network,  # with the attention of transformers, not Duel's
            reward_funcs=self.reward,
            args=config,
            train_dataset=rows(charts, settings.sampling.describe),
            processing_class=model.processor,
            peft_config=LoraConfig(
                r=settings.models.lora_rank,
                lora_alpha=settings.models.lora_alpha,  # type: ignore[arg-type]
                target_modules=language_linears(network),
            ),
            callbacks=[turn_callback(self.turns)],
        )
        threading.Thread(target=self.train, daemon=True).start()

    def train(self) -> None:
        """Run the training loop; what it raises is raised by the next step."""
        try:
            self.trainer.train()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self.turns.failure = error
        self.turns.has_gone.release()

    def reward(self, completions: list[Any], chart: list[bytes], completion_ids: list[Any], **_: Any) -> list[float]:
        """Reward a batch, group by group."""
        self.lengths = [len(tokens) for tokens in completion_ids]
        texts = [completion[0]["content"].strip() for completion in completions]
        groups = [texts[i : i + self.group_size] for i in range(0, len(texts), self.group_size)]
        rewards = self.rewards.of(chart[:: self.group_size], groups, self.step_now)
        return [reward for group in rewards for reward in group]

    def step(self, charts: list[bytes], step: int) -> list[int]:
        """Let the trainer take its next step, over charts of its own order; return the completions' lengths."""
        del charts  # it reads its data set
        self.step_now = step
        self.turns.take()
        return self.lengths


def rows(charts: Sequence[bytes], instruction: str) -> Any:
    """Return a data set in TRL's layout."""
    import io

    import datasets

    prompt = [{"role": "user", "content": instruction}]
    return datasets.Dataset.from_list(
        [{"prompt": prompt, "image": Image.open(io.BytesIO(chart)), "chart": chart} for chart in charts]
    )


def turn_callback(turns: Turns) -> Any:
    """Return a callback that holds the loop before each step until its turn."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turns.may_go.acquire()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            turns.has_gone.release()

    return Callback()


@dataclass
class Measured:
    """What the timed steps of one arm took."""

    wall: list[float] = field(default_factory=list)  # seconds
    cpu: list[float] = field(default_factory=list)  # seconds of all threads: hardly depends on other load
    lengths: list[int] = field(default_factory=list)  # tokens of each completion

    def time(self, step: Callable[[list[bytes], int], list[int]], charts: list[bytes], number: int) -> None:
        """Take one step and note what it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        lengths = step(charts, number)
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        self.lengths += lengths


def main() -> None:
    """Take turns, then print samples a second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    settings = read_settings(read_profile(profile_path(PROFILE)) | {"order": ["base"], "originals": "dataset"})
    rewards = Rewards(load_embedder(settings.models))
    steps = WARM_UP + options.steps
    with tempfile.TemporaryDirectory() as name:
        files = sorted((write_dataset(Path(name) / "charts", 0) / "train_images").iterdir())
        charts = [file.read_bytes() for file in files]
        arms = {
            "Duel": Duel(settings, rewards),
            f"TRL {version('trl')}": TRL(settings, rewards, charts, steps, Path(name) / "trl"),
        }
        measured = {arm: Measured() for arm in arms}
        for step in range(steps):
            chosen = [charts[i] for i in images_of_turn(0, len(charts), settings.images_per_round, step)]
            for name_of_arm, arm in arms.items():
                (measured[name_of_arm] if step >= WARM_UP else Measured()).time(arm.step, chosen, step)
    report(measured, options.threads)


def report(measured: dict[str, Measured], threads: int) -> None:
    """Print one line for each arm, and the ratios of their rates."""
    print(f"machine: {platform.machine()}, {threads} threads, torch {version('torch')}")
    for arm, took in measured.items():
        samples = len(took.lengths)
        print(
            f"{arm:10} {samples / sum(took.wall):5.1f} samples/s, {samples / sum(took.cpu):5.1f} a second of CPU, "
            f"{statistics.fmean(took.lengths):.1f} tokens a completion"
        )
    ours, theirs = measured.values()
    print(f"ratio: {sum(theirs.wall) / sum(ours.wall):.1f}, of CPU time {sum(theirs.cpu) / sum(ours.cpu):.1f}")


if __name__ == "__main__":
    main()
