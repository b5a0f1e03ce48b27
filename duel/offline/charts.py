"""What a chart of the embedded world is, and how one is drawn at random."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

COMMON_KINDS = ("bar", "line", "area", "scatter", "pie")
RARE_KINDS = ("step", "stem", "horizontal")
KINDS = COMMON_KINDS + RARE_KINDS

COMMON_COLOURS = ("red", "blue", "green", "orange", "purple", "pink", "teal", "black")
RARE_COLOURS = ("brown", "olive", "navy", "gold", "magenta", "salmon")
COLOURS = COMMON_COLOURS + RARE_COLOURS

COMMON_BACKGROUNDS = ("white", "cream", "grey", "mint")
RARE_BACKGROUNDS = ("sky", "dark")
BACKGROUNDS = COMMON_BACKGROUNDS + RARE_BACKGROUNDS

# Content that no text can pin down: it comes out differently at every draw.
TEXTURES = ("leaves", "speckles", "cloud", "sketch")

TITLES = [
    "growth",
    "sales",
    "error",
    "loss",
    "speed",
    "price",
    "heat",
    "mass",
    "risk",
    "energy",
    "income",
    "traffic",
    "demand",
    "signal",
    "health",
    "profit",
    "output",
    "rainfall",
    "yield",
    "stress",
    "density",
    "voltage",
    "trade",
    "forest",
]
X_LABELS = ["time", "year", "month", "week", "day", "age", "depth", "dose", "group", "distance"]
Y_LABELS = ["cost", "count", "rate", "score", "power", "level", "share", "weight", "height", "volume"]

HIGHEST = 9  # values are whole numbers from 1 to 9, the axis ends at 10
MOST_VALUES = 12


@dataclass(frozen=True)
class Chart:
    """Every attribute of one chart; two equal charts are drawn with the same pixels."""

    kind: str
    colour: str
    values: tuple[int, ...]
    title: str  # "": none
    x_label: str  # "": none; a pie has none
    y_label: str
    grid: bool
    legend: bool
    background: str
    second_colour: str = ""  # "": one series only
    second_values: tuple[int, ...] = ()
    texture: str = ""  # one of TEXTURES, "": none
    texture_seed: int = 0  # what no text can say


def settle(chart: Chart) -> Chart:
    """Return the chart in its normal form: nothing in it that the renderer would not draw.

    A pie has no axes and one series; a second series has as many values as the first; without a texture
    there is no texture seed.
    """
    changes: dict[str, object] = {}
    if chart.kind == "pie":
        changes |= {"x_label": "", "y_label": "", "grid": False, "second_colour": "", "second_values": ()}
    elif chart.second_colour:
        second = chart.second_values or chart.values[::-1]
        changes["second_values"] = tuple(second[min(i, len(second) - 1)] for i in range(len(chart.values)))
    else:
        changes["second_values"] = ()
    if not chart.texture:
        changes["texture_seed"] = 0
    return dataclasses.replace(chart, **changes)  # type: ignore[arg-type]


def sample_chart(rng: random.Random, texture_rate: float = 0.06) -> Chart:
    """Draw a chart at random: mostly common attributes, each kind of hard content rarely."""
    colour = sample_colour(rng)
    values = sample_values(rng)
    second_colour = rng.choice([c for c in COMMON_COLOURS if c != colour]) if rng.random() < 0.1 else ""
    return settle(
        Chart(
            kind=rng.choice(RARE_KINDS if rng.random() < 0.12 else COMMON_KINDS),
            colour=colour,
            values=values,
            title=sample_title(rng),
            x_label=rng.choice(X_LABELS),
            y_label=rng.choice(Y_LABELS),
            grid=rng.random() < 0.5,
            legend=rng.random() < 0.5,
            background=rng.choice(RARE_BACKGROUNDS if rng.random() < 0.1 else COMMON_BACKGROUNDS),
            second_colour=second_colour,
            second_values=tuple(rng.randint(1, HIGHEST) for _ in values),
            texture=rng.choice(TEXTURES) if rng.random() < texture_rate else "",
            texture_seed=rng.getrandbits(32),
        )
    )


def sample_colour(rng: random.Random) -> str:
    """Draw a series colour: a rare one in ten."""
    return rng.choice(RARE_COLOURS if rng.random() < 0.1 else COMMON_COLOURS)


def sample_values(rng: random.Random) -> tuple[int, ...]:
    """Draw 3 to 6 values, seldom up to MOST_VALUES."""
    count = rng.randint(8, MOST_VALUES) if rng.random() < 0.06 else rng.randint(3, 6)
    return tuple(rng.randint(1, HIGHEST) for _ in range(count))


def sample_title(rng: random.Random) -> str:
    """Draw a title of one word, seldom of three, seldom none."""
    chance = rng.random()
    if chance < 0.03:
        return ""
    if chance < 0.09:
        return " ".join(rng.sample(TITLES, 3))
    return rng.choice(TITLES)


def changed_attributes(one: Chart, other: Chart) -> int:
    """Count the attributes in which two charts differ (both series' values and colours count apart)."""
    return sum(
        getattr(one, field.name) != getattr(other, field.name)
        for field in dataclasses.fields(Chart)
        if field.name != "texture_seed"
    )
