"""What it is worth to read a round's images once: a base round's sampling and update with and without kept features.

    OMP_NUM_THREADS=1 python -m benchmarks.features            the embedded model, rounds as in the profile `offline`

The two kinds of round alternate in one process and begin at the same weights. Prints seconds and their ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from duel.offline.dataset import write_dataset
from duel.policies.anchor import AnchorAnswer
from duel.policies.load import load_players
from duel.policies.policy import Policy
from duel.settings import Settings
from duel.settings.profile import read_profile, read_settings
from duel.types import Attempt, Drawing, Group, ModelInput
from flows.profiles import profile_path


def play(policy: Policy, settings: Settings, images: list[bytes], round: int) -> tuple[float, float]:
    """Sample a round's descriptions and learn from rewards that are made up; return the seconds of both."""
    inputs = [ModelInput(settings.sampling.describe, image) for image in images]
    size, how = settings.sampling.group_size, settings.sampling
    seeds = [[1000 * round + 10 * place + i for i in range(size)] for place in range(len(inputs))]
    began = time.perf_counter()
    described = policy.sample(inputs, seeds, temperature=how.temperature, max_new_tokens=how.max_new_tokens)
    sampled = time.perf_counter()
    groups = [
        Group(row, [Attempt(Drawing("", 0, "a"), Drawing("", 0, "b"), i / size, i / size) for i in range(size)])
        for row in described
    ]
    anchors: list[AnchorAnswer] = [
        (ModelInput(settings.base.anchor.answer[0], image), row[0])
        for image, row in zip(images[:2], described[:2], strict=True)
    ]
    policy.learn(inputs, groups, anchors)
    return sampled - began, time.perf_counter() - sampled


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="of each kind, after one that is not counted")
    rounds: int = parser.parse_args().rounds
    settings = read_settings(read_profile(profile_path("offline")))
    with tempfile.TemporaryDirectory() as name:
        write_dataset(Path(name) / "data", 0)
        files = sorted((Path(name) / "data" / "train_images").iterdir())[: settings.images_per_round]
        images = [file.read_bytes() for file in files]
    policies: dict[str, Any] = {kind: load_players(settings, ["base"])["base"] for kind in ("kept", "read again")}
    policies["read again"].model.features.reading = lambda *_: contextlib.nullcontext()
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in policies}
    for round in range(rounds + 1):
        for kind, policy in policies.items():
            policy.model.features.forget()  # other rounds have other images
            seconds[kind].append(play(policy, settings, images, round))
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores; {rounds} rounds of each kind, medians")
    medians = {kind: [median(row[i] for row in rows[1:]) for i in (0, 1)] for kind, rows in seconds.items()}
    for i, what in enumerate(("describe", "learn")):
        again, kept = medians["read again"][i], medians["kept"][i]
        print(
            f"{what:9} {again:.3f} s with images read again, {kept:.3f} s with kept features: ratio {again / kept:.2f}"
        )


if __name__ == "__main__":
    main()
