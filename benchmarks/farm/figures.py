"""Draws the figures of docs/adversary.md from the files in docs/data.

python -m benchmarks.farm.figures docs/data docs
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artifacts.themes import PLAIN
from benchmarks.farm.results import Row, hard_mean, read_table
from benchmarks.farm.summarise import TABLE

matplotlib.use("Agg")
LINES = {  # arm: label, colour, dashes
    "upper": ("upper bound", "#8a8a8a", ":"),
    "duel": ("duel", PLAIN.colours[0], "-"),
    "frozen_plr": ("untrained adversary, replay", "#5b9bd0", "--"),
    "frozen": ("untrained adversary", "#5b9bd0", ":"),
    "plain": ("plain reward", PLAIN.colours[1], "--"),
    "none": ("no adversary", "#1a1a1a", "-"),
}
MOST_DRAWS = 6000
PROMPTS = (  # column, title
    ("ceiling", "self-similarity of prompts"),
    ("unpinnable", "share asking for what no text pins down"),
    ("any_hard", "share asking for hard content"),
)
DOTS = 110  # per inch


def main() -> None:
    data, out = (Path(word) for word in (sys.argv[1:] + ["docs/data", "docs"][len(sys.argv) - 1 :])[:2])
    runs: dict[str, dict[float, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in read_table(data / TABLE):
        runs[row["arm"]][row["seed"]].append(row)
    arms = {arm: list(seeds.values()) for arm, seeds in runs.items() if arm in LINES}
    save(curves(arms), out / "adversary_curves.png")
    save(prompts(arms), out / "adversary_prompts.png")


def curves(arms: dict[str, list[list[Row]]]) -> Figure:
    """Similarity on hard strata, on charts hard in every way, and answers, against draws paid."""
    panels: list[tuple[str, Callable[[Row], float], tuple[float, float]]] = [
        ("similarity, mean of the hard strata", lambda row: hard_mean(row, "similarity"), (0.82, 1.0)),
        ("similarity, charts hard in every way", lambda row: row["similarity_all"], (0.58, 1.0)),
        ("right answers about hard charts, after a description", lambda row: hard_mean(row, "reasoned"), (0.2, 0.95)),
    ]
    figure, places = new_figure("draws paid")
    draws = np.arange(0, MOST_DRAWS + 1, 50)
    for axes, (title, value, limits) in zip(places, panels, strict=True):
        for arm in LINES:
            rows_of = [rows for rows in arms.get(arm, []) if rows]
            if rows_of:
                paid = [[row["draws"] for row in rows] for rows in rows_of]
                measured = [[value(row) for row in rows] for rows in rows_of]
                known = draws <= max(map(max, paid))
                found = [np.interp(draws, xs, ys) for xs, ys in zip(paid, measured, strict=True)]
                draw_band(axes, arm, draws[known], np.array(found)[:, known])
                if not known.all():  # nothing left to pay for: the value stays
                    axes.plot(draws[~known], np.mean(found, 0)[~known], color=LINES[arm][1], lw=0.8, ls=(0, (1, 4)))
        finish(axes, title, limits)
        axes.set_xlim(0, MOST_DRAWS)
    places[0].legend(frameon=False, fontsize=8, loc="lower right", labelcolor=PLAIN.ink)
    return figure


def prompts(arms: dict[str, list[list[Row]]]) -> Figure:
    """What adversaries ask for, against rounds."""
    figure, places = new_figure("round")
    for axes, (column, title) in zip(places, PROMPTS, strict=True):
        for arm in ("duel", "frozen", "plain"):
            known = [[row for row in rows if column in row] for rows in arms.get(arm, [])]
            count = min(map(len, known), default=0)
            if count:
                rounds = np.mean([[row["round"] for row in rows[:count]] for rows in known], 0)
                draw_band(axes, arm, rounds, np.array([[row[column] for row in rows[:count]] for rows in known]))
        finish(axes, title, (-0.03, 1.03))
    places[0].legend(frameon=False, fontsize=8, loc="lower left", labelcolor=PLAIN.ink)
    return figure


def new_figure(label: str) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(13.5, 4.0), facecolor=PLAIN.paper, layout="constrained")
    places = figure.subplots(1, 3)
    for axes in places:
        axes.set_xlabel(label, color=PLAIN.ink, fontsize=10)
    return figure, places


def draw_band(axes: Axes, arm: str, x: np.ndarray, values: np.ndarray) -> None:
    """Draw the mean over seeds, and a band from the lowest to the highest seed; values: (seeds, points)."""
    label, colour, dashes = LINES[arm]
    axes.plot(x, values.mean(0), color=colour, linestyle=dashes, linewidth=1.8, label=label)
    axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.1, linewidth=0)


def finish(axes: Axes, title: str, limits: tuple[float, float]) -> None:
    axes.set_title(title, color=PLAIN.ink, fontsize=11, loc="left")
    axes.set_ylim(*limits)
    axes.grid(color=PLAIN.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=PLAIN.faint, labelsize=9, length=0)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(PLAIN.faint)


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DOTS)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB; mean over seeds, band from lowest to highest seed")


if __name__ == "__main__":
    main()
