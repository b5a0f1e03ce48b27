"""The embedded world's image generator: English in, a chart out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from duel.offline import reading, renderer
from duel.types import DrawnImage, Scalar


@dataclass(frozen=True)
class ChartGenerator:
    """Draws charts, as `duel.generators.ImageGenerator` asks; never refuses and needs no service.

    Keeps nothing between draws, so that it may be called from several threads.
    """

    name: str = "offline-charts"
    version: str = "3"  # raise it whenever an equal request would give other pixels
    prompt_limit: int = reading.PROMPT_LIMIT
    parameters: Mapping[str, Scalar] = field(default_factory=lambda: {"size": renderer.SIZE, "format": "png"})

    def draw(self, text: str, seed: int) -> DrawnImage:
        """Draw `text`; what it leaves open, `seed` decides."""
        chart = reading.read(text, random.Random(seed))
        return DrawnImage(renderer.encode(renderer.render(chart)), "image/png")
