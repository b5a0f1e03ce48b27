"""Textures whose layout no text can specify (leaves, speckles, clouds, hand drawing): the texture seed decides it."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

from duel.offline.charts import Chart

CELLS = 8  # the image is divided into CELLS x CELLS cells, each with its own amount of texture
NODES = 5  # a hand-drawn image is warped at NODES x NODES points
LEAF_GREENS = ((58, 120, 62), (88, 150, 70), (120, 168, 88), (70, 132, 96), (142, 176, 96))
Pixel = tuple[int, int, int]
Mesh = list[tuple[tuple[int, int, int, int], tuple[float, ...]]]


def texture_field(chart: Chart) -> tuple[float, ...]:
    """Return the texture's layout as CELLS * CELLS numbers of about unit variance, determined by the texture seed.

    Leaves, speckles and clouds: the amount in each cell, row by row. Hand drawing: the displacements of the
    NODES x NODES points, then zeros.
    """
    rng = random.Random(chart.texture_seed)
    if chart.texture == "sketch":
        shifts = [rng.uniform(-1.7, 1.7) for _ in range(2 * NODES * NODES)]
        return (*shifts, *[0.0] * (CELLS * CELLS - len(shifts)))
    return tuple(rng.choice((-1.0, 1.0)) for _ in range(CELLS * CELLS))


def paint_behind(draw: ImageDraw.ImageDraw, chart: Chart, size: int) -> None:
    """Paint leaves or speckles onto an empty canvas of `size` x `size` pixels; nothing for other textures."""
    if chart.texture not in ("leaves", "speckles"):
        return
    rng = random.Random(chart.texture_seed + 1)
    cell = size / CELLS
    for index, amount in enumerate(texture_field(chart)):
        if amount < 0:
            continue
        left, top = index % CELLS * cell, index // CELLS * cell
        for _ in range(3 if chart.texture == "leaves" else 9):
            x, y = left + rng.random() * cell, top + rng.random() * cell
            if chart.texture == "leaves":
                paint_leaf(draw, x, y, rng.uniform(0.5, 0.8) * cell, rng)
            else:
                radius = rng.uniform(0.035, 0.09) * cell
                shade = rng.randint(70, 170)
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(shade, shade, shade))


def paint_leaf(draw: ImageDraw.ImageDraw, x: float, y: float, length: float, rng: random.Random) -> None:
    """Paint one pointed leaf of `length` pixels with its vein, centred at (x, y)."""
    angle = rng.uniform(0, math.tau)
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    outline = [(-0.5, 0.0), (-0.2, 0.22), (0.15, 0.2), (0.5, 0.0), (0.15, -0.2), (-0.2, -0.22)]
    points = [
        (x + length * (u * along[0] + v * across[0]), y + length * (u * along[1] + v * across[1])) for u, v in outline
    ]
    green = rng.choice(LEAF_GREENS)
    draw.polygon(points, fill=green)
    draw.line([points[0], points[3]], fill=tuple(channel - 30 for channel in green), width=2)


def paint_cloud(draw: ImageDraw.ImageDraw, chart: Chart, box: tuple[int, int, int, int], colour: Pixel) -> None:
    """Scatter points over the plotting area `box` (left, top, right, bottom)."""
    rng = random.Random(chart.texture_seed + 1)
    left, top, right, bottom = box
    width, height = (right - left) / CELLS, (bottom - top) / CELLS
    for index, amount in enumerate(texture_field(chart)):
        for _ in range(4 if amount > 0 else 0):
            x = left + (index % CELLS + rng.random()) * width
            y = top + (index // CELLS + rng.random()) * height
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)


def bend(image: Image.Image, chart: Chart, background: Pixel) -> Image.Image:
    """Return the image warped as if drawn by hand: grid nodes are displaced, pixels between are interpolated."""
    field = texture_field(chart)
    size = image.width
    step = size // (NODES - 1)

    def source(column: int, row: int) -> tuple[float, float]:
        place = 2 * (row * NODES + column)
        return column * step + 5.0 * field[place], row * step + 5.0 * field[place + 1]

    mesh: Mesh = []
    for row in range(NODES - 1):
        for column in range(NODES - 1):
            box = (column * step, row * step, (column + 1) * step, (row + 1) * step)
            corners = (
                source(column, row),
                source(column, row + 1),
                source(column + 1, row + 1),
                source(column + 1, row),
            )
            mesh.append((box, tuple(value for corner in corners for value in corner)))
    return image.transform(
        image.size, Image.Transform.MESH, mesh, resample=Image.Resampling.BILINEAR, fillcolor=background
    )
