"""Draws docs/offline_world.png: hard charts, the same charts misread, and undeterminable content.

python -m benchmarks.world_picture [FILE]
"""

from __future__ import annotations

import dataclasses
import sys

from PIL import Image

from duel.offline.charts import Chart
from duel.offline.misreading import misread
from duel.offline.renderer import SIZE, render
from duel.offline.strata import HARD, sample_stratum
from duel.randomness import stream

SIDE, GAP, ROWS = 150, 3, 3
PLAIN = Chart("bar", "blue", (8, 4, 1), "growth", "group", "count", False, True, "white")
UNDETERMINABLE = (("leaves", 1), ("leaves", 2), ("speckles", 1), ("cloud", 1), ("sketch", 1), ("sketch", 2))


def charts() -> list[Chart]:
    """Return the charts row by row: every sort of hard content; the same misread; undeterminable content."""
    hard = [sample_stratum(stream(3, "picture", stratum), stratum) for stratum in (*HARD, "all")]
    misread_charts = [misread(chart, stream(3, "picture"), rate=1.0) for chart in hard]
    textured = [dataclasses.replace(PLAIN, texture=name, texture_seed=seed) for name, seed in UNDETERMINABLE]
    return hard + misread_charts + textured


def main() -> None:
    """Draw the charts in a grid and write one PNG."""
    drawn = [render(chart).resize((SIDE, SIDE), Image.Resampling.LANCZOS) for chart in charts()]
    columns = len(drawn) // ROWS
    sheet = Image.new("RGB", (columns * (SIDE + GAP) + GAP, ROWS * (SIDE + GAP) + GAP), (120, 120, 120))
    for place, picture in enumerate(drawn):
        row, column = divmod(place, columns)
        sheet.paste(picture, (GAP + column * (SIDE + GAP), GAP + row * (SIDE + GAP)))
    path = sys.argv[1] if len(sys.argv) > 1 else "docs/offline_world.png"
    sheet.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {sheet.width} x {sheet.height}, of charts of {SIZE} pixels")


if __name__ == "__main__":
    main()
