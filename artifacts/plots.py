"""The seven plots of a run, each skipped where its data is missing."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from artifacts import files
from artifacts.evaluations import interval, read_checkpoint_tests, read_proxy_evaluations
from artifacts.metrics import read_metrics
from artifacts.run import RunDirectory
from artifacts.themes import LINES, THEMES, Line, Theme, decorate
from duel.schedule import turns_of
from duel.statistics import Interval
from duel.types import Player

SIZE = (8.0, 4.7)  # inches
DOTS = 150  # to the inch


@dataclass(frozen=True)
class Curve:
    """Values against rounds; either noisy single rounds, or means with their intervals."""

    label: str
    rounds: list[int]
    values: list[float]
    intervals: list[Interval] | None = None  # None: single rounds, shown as points under their moving average


@dataclass(frozen=True)
class Plot:
    """What one plot shows; at most two curves."""

    name: str  # of its file
    title: str
    subtitle: str
    quantity: str
    player: Player  # gives the first curve its colour
    curves: list[Curve]
    axis: str = "rounds trained"


def write_plots(run: RunDirectory, compare: RunDirectory | None = None) -> dict[str, Path]:
    """Draw every plot that there is data for into `plots/`, and return the files by plot name."""
    theme = THEMES[run.settings.report.theme]
    written = {}
    for plot in plots_of(run, compare):
        path = run.plots / f"{plot.name}.png"
        files.write_bytes(path, draw_plot(plot, theme, run.settings.report.moving_average))
        written[plot.name] = path
    return written


def plots_of(run: RunDirectory, compare: RunDirectory | None = None) -> Iterator[Plot]:
    """Yield the plots that there is data for, in the report's order."""
    window = run.settings.report.moving_average
    rounds = f"each point a round; line: moving average over {window}"
    images, prompts, questions = (
        f"mean over {what}, 95 % bootstrap interval" for what in ("held-out images", "fresh prompts", "questions")
    )
    cosine = "similarity (cosine)"
    similarity = {player: _training(run, player, "similarity_mean") for player in ("base", "adversary")}
    rewards = _training(run, "adversary", "reward_mean")
    candidates = [
        Plot("base_training_similarity", "Base: similarity in training", rounds, cosine, "base", similarity["base"]),
        Plot("base_evaluation_similarity", "Base: similarity on held-out images", images, cosine, "base",
             _held_out(run)),
        Plot("adversary_training_similarity", "Adversary: similarity in training", rounds, cosine, "adversary",
             similarity["adversary"]),
        Plot("adversary_training_reward", "Adversary: reward in training", rounds, "reward", "adversary", rewards),
        Plot("adversary_evaluation", "Adversary: evaluation on fresh prompts", prompts, "reward, similarity",
             "adversary", _fresh_prompts(run)),
        Plot("pass_at_1", "Questions answered: pass@1", questions, "pass@1", "base", _pass_at_1(run, "pass@1")),
    ]  # fmt: skip
    if compare is not None:
        both = [*_pass_at_1(run, _label(run), of_base=True), *_pass_at_1(compare, _label(compare), of_base=True)]
        title = "Questions answered: pass@1 of two runs"
        candidates.append(
            Plot(
                "pass_at_1_comparison",
                title,
                questions,
                "pass@1",
                "base",
                both if len(both) == 2 else [],
                axis="rounds in which the base learned",
            )
        )
    yield from (plot for plot in candidates if plot.curves)


def draw_plot(plot: Plot, theme: Theme, window: int) -> bytes:
    """Return the plot as PNG; equal plots are equal bytes."""
    figure = Figure(figsize=SIZE, dpi=DOTS, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.095, 0.165, 0.88, 0.56), facecolor=theme.panel)
    colours = theme.colours if plot.player == "base" else theme.colours[::-1]
    for curve, colour, line in zip(plot.curves, colours, LINES, strict=False):
        draw = _draw_rounds if curve.intervals is None else _draw_means
        draw(axes, curve, colour, line, window)
    _set_limits(axes, plot)
    _draw_frame(axes, plot, theme)
    _draw_titles(figure, axes, plot, theme, window)
    if theme.festive:
        decorate(figure, seed=zlib.crc32(plot.name.encode()))
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", facecolor=theme.paper, metadata={"Software": None})
    return encoded.getvalue()


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Return at each place the mean of the `window` values around it, of fewer near the ends."""
    return [float(mean) for mean in pd.Series(values, dtype=float).rolling(window, min_periods=1, center=True).mean()]


def _draw_rounds(axes: Axes, curve: Curve, colour: str, line: Line, window: int) -> None:
    """Single rounds: a faint point each, and their moving average."""
    size = float(np.clip(900 / len(curve.values), 4, 36))
    axes.scatter(curve.rounds, curve.values, s=size, color=colour, alpha=0.35, linewidths=0, marker=line.marker)
    averaged = moving_average(curve.values, window)
    axes.plot(curve.rounds, averaged, line.dashes, color=colour, linewidth=2.2, label=curve.label)


def _draw_means(axes: Axes, curve: Curve, colour: str, line: Line, window: int) -> None:
    """Means with a band for their intervals; when there are many, their moving average leads the eye."""
    found = curve.intervals or []
    low, high = [bounds.low for bounds in found], [bounds.high for bounds in found]
    if len(found) == 1:  # a band of no width cannot be seen
        axes.vlines(curve.rounds, low, high, color=colour, linewidth=1)
    axes.fill_between(curve.rounds, low, high, color=colour, alpha=0.13, linewidth=0)
    for edge in (low, high):
        axes.plot(curve.rounds, edge, line.dashes, color=colour, linewidth=0.5, alpha=0.6)
    size = float(np.clip(25 / len(found) ** 0.5, 2.5, 6))
    many = _many(curve, window)
    axes.plot(
        curve.rounds, curve.values, marker=line.marker, markersize=size, markeredgewidth=0, color=colour,
        linestyle="none" if many else line.dashes, linewidth=2.2, alpha=0.55 if many else 1.0,
        label=None if many else curve.label,
    )  # fmt: skip
    if many:
        averaged = moving_average(curve.values, window)
        axes.plot(curve.rounds, averaged, line.dashes, color=colour, linewidth=2.2, label=curve.label)


def _many(curve: Curve, window: int) -> bool:
    return len(curve.values) > 2 * window


def _set_limits(axes: Axes, plot: Plot) -> None:
    """Show every value and every interval whole, and never less than 0.1, so that noise does not look like news."""
    values = [value for curve in plot.curves for value in curve.values]
    values += [bound for curve in plot.curves for found in curve.intervals or [] for bound in (found.low, found.high)]
    low, high = min(values), max(values)
    margin = max(0.06 * (high - low), (0.1 - (high - low)) / 2)
    axes.set_ylim(low - margin, high + margin)
    rounds = [number for curve in plot.curves for number in curve.rounds]
    width = max(max(rounds) - min(rounds), 1)
    axes.set_xlim(min(rounds) - 0.025 * width, max(rounds) + 0.025 * width)


def _draw_frame(axes: Axes, plot: Plot, theme: Theme) -> None:
    round_numbers = [1, 2, 5, 10]
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1, steps=round_numbers))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=round_numbers))
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.faint, labelsize=9, length=0)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(theme.faint)
    axes.set_xlabel("round" if plot.curves[0].intervals is None else plot.axis, color=theme.ink, fontsize=10)
    axes.set_ylabel(plot.quantity, color=theme.ink, fontsize=10)


def _draw_titles(figure: Figure, axes: Axes, plot: Plot, theme: Theme, window: int) -> None:
    """Title, subtitle and legend, each in a row of its own above the data."""
    left = axes.get_position().x0
    alone = len(plot.curves) == 1
    averaged = any(curve.intervals and _many(curve, window) for curve in plot.curves)
    subtitle = f"{plot.subtitle}; line: moving average over {window}" if averaged else plot.subtitle
    figure.text(left, 0.83 if alone else 0.85, plot.title, color=theme.ink, fontsize=14, fontweight="bold")
    figure.text(left, 0.775 if alone else 0.8, subtitle, color=theme.faint, fontsize=9)
    if not alone:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2, frameon=False, fontsize=9, labelcolor=theme.ink,
            handlelength=3.2, borderaxespad=0, borderpad=0.2,
        )  # fmt: skip


def _training(run: RunDirectory, player: Player, column: str) -> list[Curve]:
    metrics = read_metrics(run)
    if metrics.empty:
        return []
    rows = metrics[metrics["player"] == player].dropna(subset=[column])
    if rows.empty:
        return []
    return [Curve(player, [int(r) for r in rows["round"]], [float(value) for value in rows[column]])]


def _held_out(run: RunDirectory) -> list[Curve]:
    found = [(e.rounds_done, e.similarities) for e in read_proxy_evaluations(run)]
    return _measured("base", found)


def _fresh_prompts(run: RunDirectory) -> list[Curve]:
    evaluations = read_proxy_evaluations(run)
    rewards = _measured("reward", [(e.rounds_done, e.adversary_rewards) for e in evaluations])
    return rewards + _measured("similarity", [(e.rounds_done, e.adversary_similarities) for e in evaluations])


def _pass_at_1(run: RunDirectory, label: str, of_base: bool = False) -> list[Curve]:
    """With `of_base` over the base's own rounds, so that runs with and without adversary can be compared."""
    tests = read_checkpoint_tests(run)
    return _measured(
        label,
        [
            (turns_of("base", run.settings.order, test.rounds_done) if of_base else test.rounds_done, test.questions)
            for test in tests
        ],
    )


def _measured(label: str, found: list[tuple[int, list[float]]]) -> list[Curve]:
    """Return a curve of means with their intervals, if anything was measured."""
    kept = [(rounds, interval(values)) for rounds, values in found if values]
    if not kept:
        return []
    return [Curve(label, [r for r, _ in kept], [i.mean for _, i in kept], [i for _, i in kept])]


def _label(run: RunDirectory) -> str:
    kind = "duel" if run.settings.originals == "adversary" else "no adversary"
    name = run.name if len(run.name) <= 24 else run.name[:23] + "…"
    return name if name == kind else f"{name} ({kind})"
