"""Trains the embedded world's DINOv2 model: `python -m duel.offline.pretraining.embedder --out FOLDER`.

The pooled output learns to point where the chart's target (targets.py) points, so that the cosine of two
images falls with every attribute in which the charts differ.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Dinov2Model

from duel.offline.charts import Chart, sample_chart
from duel.offline.pretraining.corpus import corpus_chart, draw_corpus
from duel.offline.pretraining.loop import Descent
from duel.offline.pretraining.models import (
    EMBEDDER_FOLDER,
    EMBEDDER_SIDE,
    embedder_config,
    embedder_image_processor,
    pixel_statistics,
    save_half,
)
from duel.offline.pretraining.targets import Vector, target


def sample_for_embedder(rng: random.Random) -> Chart:
    """Draw a chart for training: textures are frequent, some titles are made-up words."""
    chart = sample_chart(rng, texture_rate=0.3)
    if rng.random() < 0.08:
        letters = "abcdefghijklmnopqrstuvwxyz"
        words = ["".join(rng.choices(letters, k=rng.randint(3, 9))) for _ in range(rng.randint(1, 3))]
        chart = dataclasses.replace(chart, title=" ".join(words))
    return chart


def target_at(seed: int, index: int) -> Vector:
    """Return the target of the corpus's chart at `index`."""
    return target(corpus_chart(seed, index, sample_for_embedder))


def principal_axes(targets: Tensor, width: int) -> Tensor:
    """Return the `width` directions that hold most of the targets' inner products, `(D, width)`.

    Their order is shuffled by a rotation, as the pooled output's normalisation has no favourite direction.
    """
    _, axes = torch.linalg.eigh(targets.T @ targets)
    rotation, _ = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(0)))
    turned: Tensor = axes[:, -width:] @ rotation.to(targets)
    return turned


def embedder_input(pixels: Tensor) -> Tensor:
    """Return what the image processor makes of resized images, `(B, side, side, 3)` uint8, as `(B, 3, side, side)`."""
    mean, deviation = pixel_statistics(pixels.device)
    return ((pixels.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)


@torch.no_grad()
def turn_towards(model: Any, pixels: Tensor, targets: Tensor) -> Tensor:
    """Return the rotation that brings the targets nearest to where a trained model already points.

    Orthogonal Procrustes problem (Schoenemann 1966): U V^T of the singular value decomposition.
    """
    outputs = torch.cat([model(embedder_input(part)).pooler_output for part in torch.split(pixels, 512)])
    left, _, right = torch.linalg.svd(targets.T @ F.normalize(outputs.float(), dim=1))
    rotation: Tensor = left @ right
    return rotation


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return one minus the mean cosine to the targets, plus the error of the batch's cosine matrix."""
    embeddings = F.normalize(outputs.float(), dim=1)
    kernel = (embeddings @ embeddings.T - targets @ targets.T).square().mean()
    return 1 - (embeddings * targets).sum(1).mean() + 4 * kernel


def train(arguments: argparse.Namespace) -> None:
    """Draw the corpus, train until the steps or the minutes are used up, save."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started = time.monotonic()
    pixels = draw_corpus(arguments.seed, arguments.charts, EMBEDDER_SIDE, sample_for_embedder, arguments.workers)
    with multiprocessing.get_context("fork").Pool(arguments.workers) as pool:
        vectors = pool.starmap(target_at, [(arguments.seed, index) for index in range(arguments.charts)], chunksize=500)
    targets = torch.from_numpy(np.stack(vectors))
    print(f"drew {arguments.charts} charts in {time.monotonic() - started:.0f} s", flush=True)

    torch.manual_seed(arguments.seed)
    images = torch.from_numpy(pixels).to(device)
    model: Any = Dinov2Model(embedder_config()).to(device)  # type: ignore[arg-type]  # a decorator hides its signature
    targets = F.normalize(targets @ principal_axes(targets, model.config.hidden_size), dim=1).to(device)
    if arguments.init is not None:
        model = Dinov2Model.from_pretrained(arguments.init, dtype=torch.float32)
        model.to(device).train()
        targets = targets @ turn_towards(model, images[:4096], targets[:4096])
    descent = Descent(model, arguments, warmup=300)
    for step in descent.steps():
        rows = torch.randint(len(images), (arguments.batch,), device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            outputs = model(embedder_input(images[rows])).pooler_output  # (B, 192)
        loss = loss_of(outputs, targets[rows])
        descent.step(loss)
        if descent.reports(step):
            cosine = (F.normalize(outputs.float(), dim=1) * targets[rows]).sum(1).mean()
            print(
                f"embedder step {step} loss {loss:.4f} cosine {cosine:.4f} {descent.seconds:.0f} s",
                flush=True,
            )
        if descent.saves(step):
            save(model, arguments.out)
    save(model, arguments.out)


def save(model: Any, folder: Path) -> None:
    """Write the model with its image processor."""
    save_half(model, folder)
    embedder_image_processor().save_pretrained(folder)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m duel.offline.pretraining.embedder", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=EMBEDDER_FOLDER, help="folder for the model (default: the package's)"
    )
    parser.add_argument("--init", type=Path, help="folder of a model to go on from (default: random weights)")
    parser.add_argument("--charts", type=int, default=120_000, help="charts to draw and train on")
    parser.add_argument("--steps", type=int, default=30_000, help="optimizer steps at most")
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes of training at most")
    parser.add_argument("--batch", type=int, default=768, help="images a step")
    parser.add_argument("--learning-rate", type=float, default=8e-4, help="peak learning rate of AdamW")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that draw")
    parser.add_argument("--report", type=int, default=100, help="steps between two lines of progress")
    parser.add_argument("--seed", type=int, default=0, help="seed of charts, weights and batches")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
