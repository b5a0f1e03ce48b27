"""How the embedded base is weak: it was taught to take hard content for the nearest common thing.

In the texts that it learned from, each sort of hard content of a chart is misread with probability MISREAD, each
on its own and anew for every text, in descriptions and answers alike. So the right words are there to be found,
in three texts of ten, and whoever never looks at such charts never finds them.
"""

from __future__ import annotations

import dataclasses
import random

from duel.offline.charts import Chart, settle
from duel.offline.strata import FEW_VALUES

MISREAD = 0.7
NEAREST_KIND = {"step": "line", "stem": "bar", "horizontal": "bar"}
NEAREST_COLOUR = {
    "brown": "red", "olive": "green", "navy": "blue", "gold": "orange", "magenta": "pink", "salmon": "pink",
}  # fmt: skip
NEAREST_BACKGROUND = {"sky": "mint", "dark": "grey"}
MOST_READ = 6  # values, of a list of more than FEW_VALUES


def misread(chart: Chart, rng: random.Random, rate: float = MISREAD) -> Chart:
    """Return the chart as the weak base takes it: each sort of hard content misread with probability `rate`."""
    changes: dict[str, object] = {}
    if rng.random() < rate:
        changes["kind"] = NEAREST_KIND.get(chart.kind, chart.kind)
    if rng.random() < rate:
        changes["colour"] = NEAREST_COLOUR.get(chart.colour, chart.colour)
    if rng.random() < rate:
        changes["background"] = NEAREST_BACKGROUND.get(chart.background, chart.background)
    if rng.random() < rate:
        changes |= {"second_colour": "", "second_values": ()}
    if rng.random() < rate and len(chart.values) > FEW_VALUES:
        changes["values"] = chart.values[:MOST_READ]
    if rng.random() < rate:
        changes["title"] = " ".join(chart.title.split()[:1])
    return settle(dataclasses.replace(chart, **changes))  # type: ignore[arg-type]
