"""The offline world's ImageGenerator: parses English text and renders a chart."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from duel.offline import reading, renderer
from duel.types import EMBEDDED, DrawnImage, Scalar


@dataclass(frozen=True)
class ChartGenerator:
    """ImageGenerator that renders charts with Pillow; stateless, hence thread-safe. Never refuses."""

    name: str = "offline-charts"
    version: str = "3"  # raise it whenever an equal request would give other pixels
    service: str = EMBEDDED
    prompt_limit: int = reading.PROMPT_LIMIT
    parameters: Mapping[str, Scalar] = field(default_factory=lambda: {"size": renderer.SIZE, "format": "png"})

    def draw(self, text: str, seed: int) -> DrawnImage:
        """Return the chart that `text` describes, as PNG; `seed` decides what the text leaves open."""
        chart = reading.read(text, random.Random(seed))
        return DrawnImage(renderer.encode(renderer.render(chart)), "image/png")
