"""Validity of the offline embedder: does the cosine fall with changed attributes?

Run: python -m benchmarks.embedder
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch

from duel.offline.charts import Chart, changed_attributes, sample_chart, settle
from duel.offline.generator import ChartGenerator
from duel.offline.language import TEXTURE_PHRASES, write
from duel.offline.pretraining.measure import Embedder
from duel.offline.pretraining.models import EMBEDDER_FOLDER
from duel.offline.reading import read
from duel.offline.renderer import render
from duel.randomness import stream

ATTRIBUTES = ("kind", "colour", "values", "title", "x_label", "y_label", "grid", "legend", "background")


def changed(chart: Chart, count: int, rng: random.Random) -> Chart:
    """Return the chart with `count` attributes replaced by another chart's."""
    other = sample_chart(rng, texture_rate=0)
    chosen = rng.sample(ATTRIBUTES, count)
    return settle(dataclasses.replace(chart, **{name: getattr(other, name) for name in chosen}))


def ranks(values: Sequence[float]) -> torch.Tensor:
    """Return ranks; ties share their mean rank."""
    tensor = torch.tensor(values, dtype=torch.float64)
    below = (tensor[:, None] > tensor[None]).sum(1)
    return below + ((tensor[:, None] == tensor[None]).sum(1) - 1) / 2


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation coefficient."""
    return float(torch.corrcoef(torch.stack([ranks(one), ranks(other)]))[0, 1])


def similarities(embedder: Embedder, pairs: Sequence[tuple[Chart, Chart]]) -> torch.Tensor:
    """Return the cosine similarity of each pair, (pairs,)."""
    one = embedder.embed([render(first) for first, _ in pairs])
    return (one * embedder.embed([render(second) for _, second in pairs])).sum(1).cpu()


def twice(text: str, seed: int) -> tuple[Chart, Chart]:
    """Return two charts parsed from one text with different seeds."""
    return read(text, random.Random(2 * seed)), read(text, random.Random(2 * seed + 1))


def line(name: str, values: torch.Tensor) -> str:
    """Format mean, standard deviation and range as one line."""
    return (
        f"{name:<46} mean {values.mean():.3f}  std {values.std():.3f}  min {values.min():.3f}  max {values.max():.3f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embedder", type=Path, default=EMBEDDER_FOLDER, help="folder of the model")
    parser.add_argument("--pairs", type=int, default=300, help="pairs of charts per number")
    arguments = parser.parse_args()
    embedder = Embedder.load(arguments.embedder, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    pairs: list[tuple[Chart, Chart]] = []
    while len(pairs) < arguments.pairs:
        rng = stream(3, "pair", len(pairs))
        chart = sample_chart(rng, texture_rate=0)
        pairs.append((chart, changed(chart, rng.randint(0, len(ATTRIBUTES)), rng)))
    cosines = similarities(embedder, pairs)
    counts = [float(changed_attributes(one, other)) for one, other in pairs]
    print(f"generator {ChartGenerator().name} version {ChartGenerator().version}, {arguments.pairs} pairs each")
    print(f"Spearman, cosine against changed attributes: {spearman(cosines.tolist(), counts):.3f}   (required <= -0.8)")
    for count in sorted(set(counts)):
        chosen = cosines[torch.tensor([number == count for number in counts])]
        print(f"  {count:.0f} changed: mean cosine {chosen.mean():.3f} ({len(chosen)} pairs)")

    charts = [sample_chart(stream(4, "chart", index), texture_rate=0) for index in range(arguments.pairs)]
    same = [twice(write(chart, random.Random(0)), index) for index, chart in enumerate(charts)]
    print(line("two draws of one complete text (>= 0.99)", similarities(embedder, same)))
    for texture in (*TEXTURE_PHRASES, ""):
        texts = []
        for index, chart in enumerate(charts):
            asked = texture or sorted(TEXTURE_PHRASES)[index % len(TEXTURE_PHRASES)]
            texts.append(write(dataclasses.replace(chart, texture=asked, texture_seed=1), random.Random(0)))
        drawn = [twice(text, index) for index, text in enumerate(texts)]
        name = TEXTURE_PHRASES[texture] if texture else "undeterminable content, all"
        print(line(f"two draws with {name} (<= 0.85)", similarities(embedder, drawn)))
    unlike = list(pairwise(charts))
    print(line("two charts at random", similarities(embedder, unlike)))


if __name__ == "__main__":
    main()
