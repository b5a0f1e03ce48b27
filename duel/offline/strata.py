"""Hard content: rare or absent in the data set's splits, and evaluated on strata of held-out charts.

A text can determine hard content, unlike textures (textures.py), which no chart of a stratum has.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence

from duel.offline.charts import (
    COMMON_COLOURS,
    HIGHEST,
    MOST_VALUES,
    RARE_BACKGROUNDS,
    RARE_COLOURS,
    RARE_KINDS,
    TITLES,
    X_LABELS,
    Y_LABELS,
    Chart,
    sample_chart,
    settle,
)

RARE = {"kind": RARE_KINDS, "colour": RARE_COLOURS, "background": RARE_BACKGROUNDS}
HARD = ("kind", "colour", "series", "values", "title")  # a rare kind, a rare colour, a second series, many, long
STRATA = ("common", *HARD, "all")
FEW_VALUES = 7  # more values than that are hard content


def hard_content(attributes: Mapping[str, object]) -> frozenset[str]:
    """Return the sorts of hard content (of HARD) in a chart's `vars`, or in the attributes `asked_for` by a text."""
    values, title = attributes.get("values", ()), attributes.get("title", "")
    assert isinstance(values, tuple)
    found = {
        "kind": attributes.get("kind") in RARE_KINDS,
        "colour": attributes.get("colour") in RARE_COLOURS or attributes.get("background") in RARE_BACKGROUNDS,
        "series": bool(attributes.get("second_colour")),
        "values": len(values) > FEW_VALUES,
        "title": " " in str(title),
    }
    return frozenset(sort for sort, is_there in found.items() if is_there)


def sample_stratum(rng: random.Random, stratum: str) -> Chart:
    """Sample a chart with the stratum's hard content and common content otherwise; `all`: with every sort."""
    chart = sample_chart(rng, texture_rate=0.0, hard_rate=0.0)
    for sort in HARD if stratum == "all" else (stratum,):
        chart = harden(chart, sort, rng)
    return chart


def harden(chart: Chart, sort: str, rng: random.Random, names: Mapping[str, Sequence[str]] = RARE) -> Chart:
    """Return the chart with one sort of hard content, sampled from the rare `names`; `common`: unchanged."""
    changes: dict[str, object] = {}
    if sort in ("kind", "series") and chart.kind == "pie":  # a pie has no axes, the new kind has
        changes |= {"x_label": rng.choice(X_LABELS), "y_label": rng.choice(Y_LABELS), "grid": rng.random() < 0.5}
    if sort == "kind":
        changes["kind"] = rng.choice(names["kind"])
    elif sort == "colour":
        changes |= {"colour": rng.choice(names["colour"]), "background": rng.choice(names["background"])}
    elif sort == "series":
        changes["second_colour"] = rng.choice([colour for colour in COMMON_COLOURS if colour != chart.colour])
        changes["second_values"] = sample_numbers(len(chart.values), rng)
        if chart.kind in ("pie", "area"):  # a pie has one series, and an area would hide the other
            changes["kind"] = rng.choice(("bar", "line", "scatter"))
    elif sort == "values":
        changes["values"] = sample_numbers(rng.randint(FEW_VALUES + 1, MOST_VALUES), rng)
        changes["second_values"] = sample_numbers(MOST_VALUES, rng)
    elif sort == "title":
        changes["title"] = " ".join(rng.sample(TITLES, 3))
    return settle(dataclasses.replace(chart, **changes))  # type: ignore[arg-type]


def sample_numbers(count: int, rng: random.Random) -> tuple[int, ...]:
    """Sample a series' values."""
    return tuple(rng.randint(1, HIGHEST) for _ in range(count))
