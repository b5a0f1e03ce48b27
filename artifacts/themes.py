"""Plot themes: colours, line styles and decoration, legible in black and white and with red-green colour blindness.

The Christmas decoration (garland, baubles, snow) is drawn from lines and circles, in the margins only; no assets.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle


@dataclass(frozen=True)
class Line:
    """A line style apart from its colour."""

    dashes: str
    marker: str
    hatch: str  # of the confidence band


LINES = (Line("-", "o", "////"), Line("--", "s", "...."))  # distinguishable without colour


@dataclass(frozen=True)
class Theme:
    """Colours of plots and of the report page (CSS hex)."""

    name: str
    paper: str  # page background
    panel: str  # plot background
    ink: str
    faint: str
    grid: str
    colours: tuple[str, str]  # of base and adversary; they differ in lightness
    on_colour: str  # text on these colours
    festive: bool


CHRISTMAS = Theme(
    name="christmas",
    paper="#fbf9f3",
    panel="#ffffff",
    ink="#12291d",
    faint="#5d6b62",
    grid="#e3e7e0",
    colours=("#0a3d2a", "#e8553f"),
    on_colour="#ffffff",
    festive=True,
)
PLAIN = Theme(
    name="plain",
    paper="#ffffff",
    panel="#ffffff",
    ink="#1a1a1a",
    faint="#666666",
    grid="#e6e6e6",
    colours=("#00588f", "#d06a00"),
    on_colour="#ffffff",
    festive=False,
)
THEMES = {theme.name: theme for theme in (CHRISTMAS, PLAIN)}
DARK = {  # the page's colours under `prefers-color-scheme: dark`
    "christmas": replace(
        CHRISTMAS, paper="#0e1712", panel="#16211b", ink="#e8efe9", faint="#a3b3a8", grid="#2d3b33",
        colours=("#5fc08a", "#ff9a9a"), on_colour="#0e1712",
    ),
    "plain": replace(
        PLAIN, paper="#121417", panel="#1b1e22", ink="#e9ebee", faint="#a5abb3", grid="#33383f",
        colours=("#6db6e8", "#f3a95c"), on_colour="#121417",
    ),
}  # fmt: skip

NEEDLES = ("#0f4d2e", "#1d6b3f", "#2f8152")
BAUBLES = ("#b3202c", "#c9982f", "#d6323f", "#e0bd62")


def decorate(figure: Figure, seed: int) -> None:
    """Draw a fir garland along the top edge of a figure and snow along the bottom edge, both determined by `seed`.

    They are behind the plot and use only the top 0.42 inches and the bottom 0.2 inches.
    """
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1), zorder=-1)
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.axis("off")
    chance = random.Random(seed)
    _hang_garland(axes, width, height, chance)
    _lay_snow(axes, width, chance)


def _hang_garland(axes: Axes, width: float, height: float, chance: random.Random) -> None:
    swags = max(2, round(width / 2))
    span = width / swags

    def bough(x: float) -> float:  # height of the garland: a row of sagging arcs
        return height - 0.07 - 0.2 * (1 - (2 * ((x / span) % 1) - 1) ** 2)

    needles, colours = [], []
    for _ in range(round(width * 110)):
        x = chance.uniform(-0.1, width + 0.1)
        y = bough(x) + chance.gauss(0, 0.012)
        angle = chance.uniform(0, 2 * math.pi)
        length = chance.uniform(0.04, 0.085)
        needles.append([(x, y), (x + length * math.cos(angle), y + length * math.sin(angle))])
        colours.append(chance.choice(NEEDLES))
    axes.add_artist(LineCollection(needles, colors=colours, linewidths=0.7))
    for swag in range(swags):
        for number, part in enumerate((0.2, 0.4, 0.62, 0.83)):
            x = (swag + part) * span
            _hang_bauble(axes, x, bough(x) - 0.075, chance.uniform(0.042, 0.058), BAUBLES[(swag + number) % 4])
        _pin_star(axes, swag * span, height - 0.1, 0.1)
    _pin_star(axes, width, height - 0.1, 0.1)


def _hang_bauble(axes: Axes, x: float, y: float, radius: float, colour: str) -> None:
    axes.add_artist(Rectangle((x - 0.012, y + radius * 0.8), 0.024, 0.03, color="#a9822b", linewidth=0))
    axes.add_artist(Circle((x, y), radius, facecolor=colour, edgecolor="white", linewidth=0.4))
    axes.add_artist(
        Circle((x - radius * 0.35, y + radius * 0.35), radius * 0.22, color="white", alpha=0.75, linewidth=0)
    )


def _pin_star(axes: Axes, x: float, y: float, radius: float) -> None:
    corners = []
    for corner in range(10):
        reach = radius if corner % 2 == 0 else radius * 0.42
        angle = math.pi / 2 + corner * math.pi / 5
        corners.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    axes.add_artist(Polygon(corners, facecolor="#d4a53a", edgecolor="#a9822b", linewidth=0.5))


def _lay_snow(axes: Axes, width: float, chance: random.Random) -> None:
    steps = [width * step / 200 for step in range(201)]
    phase = chance.uniform(0, math.pi)
    for height, colour in ((0.15, "#e4ece9"), (0.1, "#eff4f2")):
        drift = [height + 0.035 * math.sin(1.3 * x + phase) + 0.02 * math.sin(3.1 * x - phase) for x in steps]
        axes.add_artist(Polygon([(0, 0), *zip(steps, drift, strict=True), (width, 0)], color=colour, linewidth=0))
        phase += 2.0
