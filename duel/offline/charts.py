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


def sample_chart(rng: random.Random, texture_rate: float = 0.06, hard_rate: float = 0.1) -> Chart:
    """Draw a chart at random: common attributes, but each is hard content (strata.py) with probability `hard_rate`."""
    colour = sample_name(rng, COMMON_COLOURS, RARE_COLOURS, hard_rate)
    values = sample_values(rng, hard_rate)
    second_colour = rng.choice([c for c in COMMON_COLOURS if c != colour]) if rng.random() < hard_rate else ""
    return settle(
        Chart(
            kind=sample_name(rng, COMMON_KINDS, RARE_KINDS, hard_rate),
            colour=colour,
            values=values,
            title=sample_title(rng, hard_rate),
            x_label=rng.choice(X_LABELS),
            y_label=rng.choice(Y_LABELS),
            grid=rng.random() < 0.5,
            legend=rng.random() < 0.5,
            background=sample_name(rng, COMMON_BACKGROUNDS, RARE_BACKGROUNDS, hard_rate),
            second_colour=second_colour,
            second_values=tuple(rng.randint(1, HIGHEST) for _ in values),
            texture=rng.choice(TEXTURES) if rng.random() < texture_rate else "",
            texture_seed=rng.getrandbits(32),
        )
    )


def sample_name(rng: random.Random, common: tuple[str, ...], rare: tuple[str, ...], rare_rate: float) -> str:
    """Draw one of the common names, or with probability `rare_rate` one of the rare ones."""
    return rng.choice(rare if rng.random() < rare_rate else common)


def sample_values(rng: random.Random, many_rate: float) -> tuple[int, ...]:
    """Draw 3 to 6 values, or with probability `many_rate` 8 to MOST_VALUES."""
    count = rng.randint(8, MOST_VALUES) if rng.random() < many_rate else rng.randint(3, 6)
    return tuple(rng.randint(1, HIGHEST) for _ in range(count))


def sample_title(rng: random.Random, long_rate: float) -> str:
    """Draw a title of one word, with probability `long_rate` of three, seldom none."""
    chance = rng.random()
    if chance < long_rate:
        return " ".join(rng.sample(TITLES, 3))
    return "" if chance > 0.97 else rng.choice(TITLES)


def changed_attributes(one: Chart, other: Chart) -> int:
    """Count the attributes in which two charts differ (both series' values and colours count apart)."""
    return sum(
        getattr(one, field.name) != getattr(other, field.name)
        for field in dataclasses.fields(Chart)
        if field.name != "texture_seed"
    )
