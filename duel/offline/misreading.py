"""The weakness of the embedded base: its training texts name the nearest common content instead of hard content.

In descriptions and answers, each sort of hard content is misread with probability MISREAD, independently for each
sort and text. The untrained base therefore describes hard content correctly in some of its samples, so that GRPO can
improve it, but only on images that contain such content.
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
    """Return the chart with each sort of hard content replaced by common content with probability `rate`."""
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
