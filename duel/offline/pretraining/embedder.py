"""Pre-trains the small DINOv2 embedder: `python -m duel.offline.pretraining.embedder --out FOLDER`.

The pooled output is regressed on a target vector computed from the chart's attributes (targets.py), so that the cosine
similarity of two images falls with every attribute in which the charts differ.
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
from duel.offline.pretraining.loop import TrainingLoop
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
    """Sample a training chart: textures are frequent, and some titles are random letters."""
    chart = sample_chart(rng, texture_rate=0.3)
    if rng.random() < 0.08:
        letters = "abcdefghijklmnopqrstuvwxyz"
        words = ["".join(rng.choices(letters, k=rng.randint(3, 9))) for _ in range(rng.randint(1, 3))]
        chart = dataclasses.replace(chart, title=" ".join(words))
    return chart


def target_at(seed: int, index: int) -> Vector:
    """Return the target vector of the corpus chart at `index`."""
    return target(corpus_chart(seed, index, sample_for_embedder))


def principal_axes(targets: Tensor, width: int) -> Tensor:
    """Return the first `width` principal axes of the targets' inner products, `(D, width)`.

    They are mixed by a random rotation, because the pooled output's normalisation prefers no direction.
    """
    _, axes = torch.linalg.eigh(targets.T @ targets)
    rotation, _ = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(0)))
    turned: Tensor = axes[:, -width:] @ rotation.to(targets)
    return turned


def embedder_input(pixels: Tensor) -> Tensor:
    """Normalise resized images, `(B, side, side, 3)` uint8, as the image processor does: `(B, 3, side, side)` float."""
    mean, deviation = pixel_statistics(pixels.device)
    return ((pixels.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)


@torch.no_grad()
def align_targets(model: Any, pixels: Tensor, targets: Tensor) -> Tensor:
    """Return the rotation of the targets that brings them closest to a trained model's outputs, `(D, D)`.

    Orthogonal Procrustes problem (Schönemann 1966): U V^T of the singular value decomposition.
    """
    outputs = torch.cat([model(embedder_input(part)).pooler_output for part in torch.split(pixels, 512)])
    left, _, right = torch.linalg.svd(targets.T @ F.normalize(outputs.float(), dim=1))
    rotation: Tensor = left @ right
    return rotation


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return 1 minus the mean cosine to the targets, plus 4 times the squared error of the batch's cosine matrix."""
    embeddings = F.normalize(outputs.float(), dim=1)
    kernel = (embeddings @ embeddings.T - targets @ targets.T).square().mean()
    return 1 - (embeddings * targets).sum(1).mean() + 4 * kernel


def train(arguments: argparse.Namespace) -> None:
    """Render the corpus, train for the given steps or minutes, and save the model."""
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
        targets = targets @ align_targets(model, images[:4096], targets[:4096])
    loop = TrainingLoop(model, arguments, warmup=300)
    for step in loop.steps():
        rows = torch.randint(len(images), (arguments.batch,), device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            outputs = model(embedder_input(images[rows])).pooler_output  # (B, 192)
        loss = loss_of(outputs, targets[rows])
        loop.step(loss)
        if loop.report_due(step):
            cosine = (F.normalize(outputs.float(), dim=1) * targets[rows]).sum(1).mean()
            print(
                f"embedder step {step} loss {loss:.4f} cosine {cosine:.4f} {loop.seconds:.0f} s",
                flush=True,
            )
        if loop.save_due(step):
            save(model, arguments.out)
    save(model, arguments.out)


def save(model: Any, folder: Path) -> None:
    """Save the model with its image processor."""
    save_half(model, folder)
    embedder_image_processor().save_pretrained(folder)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m duel.offline.pretraining.embedder", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=EMBEDDER_FOLDER, help="folder for the model (default: the package's)"
    )
    parser.add_argument("--init", type=Path, help="folder of a model to continue from (default: random weights)")
    parser.add_argument("--charts", type=int, default=120_000, help="charts to render and train on")
    parser.add_argument("--steps", type=int, default=30_000, help="maximum number of optimizer steps")
    parser.add_argument("--minutes", type=float, default=60.0, help="maximum minutes of training")
    parser.add_argument("--batch", type=int, default=768, help="images per step")
    parser.add_argument("--learning-rate", type=float, default=8e-4, help="peak learning rate of AdamW")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="rendering processes")
    parser.add_argument("--report", type=int, default=100, help="steps between progress lines")
    parser.add_argument("--seed", type=int, default=0, help="seed of charts, weights and batches")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
