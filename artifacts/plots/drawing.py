"""Draws a Plot with matplotlib; curves also differ in dashes, markers and hatching, not in colour only."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from artifacts.themes import LINES, Line, Theme, decorate
from duel.statistics import Interval, mean_interval
from duel.types import Player

SIZE = (8.0, 4.7)  # inches
DOTS = 150  # per inch
BAND = 60  # maximum number of points at which a moving average's interval is computed
FEWEST = 5  # rounds needed to compute an interval of their mean
LEAST = {"linear": 0.1, "log": 2.0}  # smallest y range: in the quantity's unit, in powers of ten


@dataclass(frozen=True)
class Curve:
    """Values by round: single noisy rounds, or means with confidence intervals."""

    label: str
    rounds: list[int]
    values: list[float]
    intervals: list[Interval] | None = None  # None: single rounds, drawn as points with their moving average
    band: list[tuple[int, Interval]] = field(
        default_factory=list
    )  # for single rounds: (index, interval) from `window_intervals`


@dataclass(frozen=True)
class Plot:
    """The content of one plot; at most two curves."""

    name: str  # file name without suffix
    title: str
    subtitle: str
    quantity: str
    player: Player  # determines the first curve's colour
    curves: list[Curve]
    axis: Literal["rounds trained", "rounds in which the base learned"] = "rounds trained"
    scale: Literal["linear", "log"] = "linear"  # log: all values are above 0; moving averages have no interval
    least: float | None = None  # smallest range of the y axis; None: that of the scale


@dataclass(frozen=True)
class Style:
    """The drawing style of one curve."""

    colour: str
    line: Line
    window: int


def draw_plot(plot: Plot, theme: Theme, window: int) -> bytes:
    """Return the plot as PNG bytes; equal plots give equal bytes."""
    figure = Figure(figsize=SIZE, dpi=DOTS, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.095, 0.165, 0.88, 0.56), facecolor=theme.panel)
    colours = theme.colours if plot.player == "base" else theme.colours[::-1]
    shown: list[float] = []
    for curve, colour, line in zip(plot.curves, colours, LINES, strict=False):
        draw = _draw_rounds if curve.intervals is None else _draw_means
        shown += draw(axes, curve, Style(colour, line, window))
    _set_limits(axes, plot, shown)
    _draw_frame(axes, plot, theme)
    _draw_titles(figure, axes, plot, theme, window)
    if theme.festive:
        decorate(figure, seed=zlib.crc32(plot.name.encode()))
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", facecolor=theme.paper, metadata={"Software": None})
    return encoded.getvalue()


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Return the centred moving average over `window` values, over fewer near the ends."""
    return [float(mean) for mean in pd.Series(values, dtype=float).rolling(window, min_periods=1, center=True).mean()]


def window_intervals(values: Sequence[float], window: int, largest: float = math.inf) -> list[tuple[int, Interval]]:
    """Return (index, 95 % interval of the moving average) at up to BAND points with FEWEST or more values.

    Intervals are clipped to [-largest, largest], the range of the values.
    """
    places = np.unique(np.linspace(0, len(values) - 1, min(len(values), BAND)).round().astype(int))
    found = []
    for place in places.tolist():
        first = place - window // 2  # pandas' centring: for an even window, the larger half comes before
        around = values[max(first, 0) : first + window]
        if len(around) >= FEWEST:
            found.append((place, mean_interval(around).within(-largest, largest)))
    return found


def _draw_rounds(axes: Axes, curve: Curve, style: Style) -> list[float]:
    """Draw single rounds as faint points, with their moving average and its interval; return all values shown."""
    size = float(np.clip(900 / len(curve.values), 4, 36))
    axes.scatter(
        curve.rounds, curve.values, s=size, color=style.colour, alpha=0.4, linewidths=0, marker=style.line.marker
    )
    averaged = moving_average(curve.values, style.window)
    axes.plot(curve.rounds, averaged, style.line.dashes, color=style.colour, linewidth=2.2, label=curve.label)
    _draw_band(axes, [curve.rounds[place] for place, _ in curve.band], [bounds for _, bounds in curve.band], style)
    return [*curve.values, *(bound for _, bounds in curve.band for bound in (bounds.low, bounds.high))]


def _draw_means(axes: Axes, curve: Curve, style: Style) -> list[float]:
    """Draw means with their interval band, and a moving average if there are many; return all values shown."""
    bounds = curve.intervals or []
    _draw_band(axes, curve.rounds, bounds, style)
    size = float(np.clip(25 / len(bounds) ** 0.5, 2.5, 6))
    many = is_many(curve, style.window)
    axes.plot(
        curve.rounds, curve.values, marker=style.line.marker, markersize=size, markeredgewidth=0, color=style.colour,
        linestyle="none" if many else style.line.dashes, linewidth=2.2, alpha=0.55 if many else 1.0,
        label=None if many else curve.label,
    )  # fmt: skip
    if many:
        averaged = moving_average(curve.values, style.window)
        axes.plot(curve.rounds, averaged, style.line.dashes, color=style.colour, linewidth=2.2, label=curve.label)
    return [*curve.values, *(bound for found in bounds if found.bounded for bound in (found.low, found.high))]


def _draw_band(axes: Axes, rounds: Sequence[int], intervals: Sequence[Interval], style: Style) -> None:
    """Draw a hatched band between the bounds, with outlines; a vertical bar for a single interval.

    The mean of one value has no interval; its round is left out of the band.
    """
    rounds = [number for number, found in zip(rounds, intervals, strict=True) if found.bounded]
    intervals = [found for found in intervals if found.bounded]
    low, high = [found.low for found in intervals], [found.high for found in intervals]
    if len(intervals) < 2:
        axes.vlines(rounds, low, high, color=style.colour, linewidth=1.4)
        return
    band = axes.fill_between(
        rounds, low, high, facecolor=to_rgba(style.colour, 0.1), edgecolor=to_rgba(style.colour, 0.35),
        hatch=style.line.hatch, linewidth=0,
    )  # fmt: skip
    band.set_hatch_linewidth(0.5)
    for edge in (low, high):
        axes.plot(rounds, edge, style.line.dashes, color=style.colour, linewidth=0.7, alpha=0.8)


def is_many(curve: Curve, window: int) -> bool:
    """Whether a curve of means has so many points that a moving average is drawn."""
    return len(curve.values) > 2 * window


def _set_limits(axes: Axes, plot: Plot, shown: Sequence[float]) -> None:
    """Fit the axes to all values and intervals, with a y range of at least `least` so that noise does not fill it.

    Where nothing is below 0, the axis has no tick there: counts, shares and divergences cannot be negative.
    """
    logarithmic = plot.scale == "log"
    low, high = (math.log10(end) if logarithmic else end for end in (min(shown), max(shown)))
    least = LEAST[plot.scale] if plot.least is None else plot.least
    margin = max(0.06 * (high - low), (least - (high - low)) / 2)
    below, low, high = low < 0, low - margin, high + margin
    if not logarithmic and not below:
        low = max(low, -0.04 * high)  # markers at 0 stay whole
    axes.set_yscale(plot.scale)
    axes.set_ylim(*((10**low, 10**high) if logarithmic else (low, high)))
    rounds = [number for curve in plot.curves for number in curve.rounds]
    width = max(max(rounds) - min(rounds), 1)
    axes.set_xlim(min(rounds) - 0.025 * width, max(rounds) + 0.025 * width)


def _draw_frame(axes: Axes, plot: Plot, theme: Theme) -> None:
    round_numbers = [1, 2, 5, 10]
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1, steps=round_numbers))
    if plot.scale == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=round_numbers))
    else:
        axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.faint, labelsize=9, length=0)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(theme.faint)
    axes.set_xlabel("round" if plot.curves[0].intervals is None else plot.axis, color=theme.ink, fontsize=10)
    axes.set_ylabel(plot.quantity, color=theme.ink, fontsize=10)


def _draw_titles(figure: Figure, axes: Axes, plot: Plot, theme: Theme, window: int) -> None:
    """Draw title, subtitle and legend in rows of their own above the data."""
    left = axes.get_position().x0
    alone = len(plot.curves) == 1
    averaged = any(curve.intervals and is_many(curve, window) for curve in plot.curves)
    subtitle = f"{plot.subtitle}; line: moving average over {window}" if averaged else plot.subtitle
    figure.text(left, 0.83 if alone else 0.85, plot.title, color=theme.ink, fontsize=14, fontweight="bold")
    figure.text(left, 0.775 if alone else 0.8, subtitle, color=theme.faint, fontsize=9)
    if not alone:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2, frameon=False, fontsize=9, labelcolor=theme.ink,
            handlelength=3.2, borderaxespad=0, borderpad=0.2,
        )  # fmt: skip
