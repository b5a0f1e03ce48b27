"""The plots: nothing clipped or overlapping, at 3 and at 1000 rounds."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from artifacts.evaluation.read import read_evaluations
from artifacts.evaluation.table import evaluation_table
from artifacts.plots import drawing
from artifacts.plots.curves import plots_of, write_plots
from artifacts.plots.drawing import Curve, Plot, draw_plot, moving_average, window_intervals
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_training_log
from artifacts.themes import CHRISTMAS, LINES, PLAIN, THEMES
from duel.errors import RunError
from duel.settings import Settings
from duel.state import StateDirectory
from duel.statistics import Interval, mean_interval
from tests.support.fake_run import fake_run, write_evaluation

ALL = [
    "base_training_similarity",
    "base_evaluation_similarity",
    "adversary_training_similarity",
    "adversary_training_reward",
    "adversary_evaluation",
    "canary",
    "pass_at_1",
    "completion_length",
    "unfinished",
    "divergence",
    "logprob_gap",
    "pass_at_1_comparison",
]


def two_runs(state: Path, rounds: int, every: int) -> tuple[RunDirectory, RunDirectory]:
    duel = fake_run(state, "duel", rounds, every, recorded=0)
    return duel, fake_run(state, "a-run-with-a-rather-long-name-" * 2, rounds, every, adversary=False, recorded=0)


def shown(run: RunDirectory, other: RunDirectory | None = None) -> tuple[Any, ...]:
    """Return the arguments of `write_plots` for a run, optionally compared with another."""
    ours = read_evaluations(run)
    theirs = read_evaluations(other) if other is not None else None
    return run, read_training_log(run), evaluation_table(ours), ours, theirs


def test_all_plots_are_written(tmp_path: Path) -> None:
    duel, alone = two_runs(tmp_path, 12, 4)
    written = write_plots(*shown(duel, alone))
    assert list(written) == ALL
    assert sorted(path.name for path in duel.plots.iterdir()) == sorted(f"{name}.png" for name in ALL)
    for path in written.values():
        with Image.open(path) as image:
            assert image.size == (1200, 705)


def test_plots_without_data_are_omitted(tmp_path: Path) -> None:
    with RunDirectory.open(StateDirectory(tmp_path), "new", Settings()) as run:
        assert write_plots(*shown(run)) == {}
    alone = fake_run(tmp_path, "alone", 4, 2, adversary=False, recorded=0)
    names = [plot.name for plot in plots_of(*shown(alone))]
    assert names == [
        "base_training_similarity",
        "base_evaluation_similarity",
        "canary",
        "pass_at_1",
        "completion_length",
        "unfinished",
        "divergence",
        "logprob_gap",
    ]


def drawn(plot: Plot, monkeypatch: pytest.MonkeyPatch, theme: str = "christmas") -> Figure:
    """Draw a plot and return its figure."""
    figures = []

    class Kept(Figure):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)  # type: ignore[arg-type]
            figures.append(self)

    monkeypatch.setattr(drawing, "Figure", Kept)
    draw_plot(plot, THEMES[theme], 10)
    return figures[0]


def boxes_of_text(figure: Figure) -> list[tuple[str, Bbox]]:
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    unseen = set()  # matplotlib keeps ticks beyond the limits and does not draw them
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        low, high = axis.get_view_interval()
        ticks = axis.get_major_ticks()
        unseen |= {id(tick.label1) for tick in ticks if not low <= tick.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    found = [text for text in texts if id(text) not in unseen]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in found]


@pytest.mark.parametrize(("rounds", "every"), [(3, 1), (60, 10), (1000, 25)])
def test_no_text_overlaps_text_or_data_or_exceeds_the_page(
    tmp_path: Path, rounds: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plot in plots_of(*shown(*two_runs(tmp_path, rounds, every))):
        figure = drawn(plot, monkeypatch)
        axes, boxes = figure.axes[0], boxes_of_text(figure)
        assert len(boxes) >= 6
        for place, (text, box) in enumerate(boxes):
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
            assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text
            assert not box.overlaps(axes.bbox.padded(-1)), f"{plot.name}: {text} lies on the data"
            for other, its in boxes[place + 1 :]:
                assert not box.overlaps(its), f"{plot.name}: {text} overlaps {other}"


def test_nothing_is_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [-0.3, 0.2, 0.95]
    plot = Plot("p", "t", "s", "q", "base", [Curve("base", [0, 2, 4], values)])
    axes = drawn(plot, monkeypatch).axes[0]
    low, high = axes.get_ylim()
    assert low < -0.3
    assert high > 0.95
    found = [mean_interval([0.1, 0.9]), mean_interval([0.2, 0.4])]
    plot = Plot("p", "t", "s", "q", "base", [Curve("base", [0, 2], [0.5, 0.3], found)])
    monkeypatch.undo()
    low, high = drawn(plot, monkeypatch).axes[0].get_ylim()
    assert low < min(bounds.low for bounds in found)
    assert high > max(bounds.high for bounds in found)


def test_the_axis_of_a_flat_curve_has_a_minimum_range(monkeypatch: pytest.MonkeyPatch) -> None:
    plot = Plot("p", "t", "s", "q", "base", [Curve("base", [0, 1], [0.5, 0.501])])
    low, high = drawn(plot, monkeypatch).axes[0].get_ylim()
    assert high - low == pytest.approx(0.1)


def test_a_logarithmic_axis_shows_at_least_two_powers_of_ten_and_clips_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = Curve("base", [0, 2, 4, 6, 8, 10], [1e-6] * 6)
    low, high = drawn(Plot("p", "t", "s", "q", "base", [curve], scale="log"), monkeypatch).axes[0].get_ylim()
    assert (low, high) == (pytest.approx(1e-7), pytest.approx(1e-5))
    monkeypatch.undo()
    curve = Curve("base", [0, 2, 4, 6, 8, 10], [1e-6, 1e-2, 1e-6, 3.0, 1e-6, 1e-6])
    low, high = drawn(Plot("p", "t", "s", "q", "base", [curve], scale="log"), monkeypatch).axes[0].get_ylim()
    assert 0 < low < 1e-6
    assert high > 3.0


def test_the_logprob_gap_is_plotted_for_both_players_with_its_maximum(tmp_path: Path) -> None:
    run = fake_run(tmp_path, rounds=4, every=2, recorded=0)
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    gaps = [(1e-6, 2e-6), (3e-6, 0.25), (0.0, 0.0), (None, None)]
    changed = [
        {**row, "logprob_gap_mean": mean, "logprob_gap_max": largest}
        for row, (mean, largest) in zip(rows, gaps, strict=True)
    ]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in changed))
    [plot] = [plot for plot in plots_of(*shown(run)) if plot.name == "logprob_gap"]
    assert [(curve.label, curve.rounds, curve.values) for curve in plot.curves] == [
        ("base", [0, 2], [1e-6, 1e-9]),  # 0 is drawn at the foot
        ("adversary", [1], [3e-6]),
    ]
    assert plot.subtitle.endswith("largest of a token: 2.5e-01")


def ornament(theme: str, monkeypatch: pytest.MonkeyPatch) -> Figure:
    plot = Plot("p", "Title", "subtitle", "q", "base", [Curve("base", [0, 1], [0.5, 0.6])])
    return drawn(plot, monkeypatch, theme)


def test_garland_and_snow_stay_in_the_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = ornament("christmas", monkeypatch)
    data, garland = figure.axes
    assert garland.get_zorder() < data.get_zorder()
    top, bottom = figure.bbox.height * 0.9, figure.bbox.height * 0.06
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for artist in (*garland.patches, *garland.collections):
        box = artist.get_window_extent(renderer)
        assert box.y0 > top or box.y1 < bottom
    for text, box in boxes_of_text(figure):
        assert bottom < box.y0, text
        assert box.y1 < top, text
    monkeypatch.undo()
    assert len(ornament("plain", monkeypatch).axes) == 1


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lightness(colour: str) -> float:
    """Return the relative luminance of sRGB (WCAG 2), 0 black to 1 white."""
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def lab(linear_rgb: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* under D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear_rgb
    x, y, z = np.array([f ** (1 / 3) if f > 0.008856 else 7.787 * f + 16 / 116 for f in xyz / [0.9505, 1, 1.089]])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", [CHRISTMAS, PLAIN])
def test_lines_differ_without_colour_and_stand_out_from_the_paper(theme: object) -> None:
    assert isinstance(theme, type(PLAIN))
    dark, light = sorted(lightness(colour) for colour in theme.colours)
    assert (light + 0.05) / (dark + 0.05) > 1.7  # told apart in black and white, and without red and green
    assert 1.05 / (light + 0.05) > 2.5
    assert LINES[0].dashes != LINES[1].dashes
    assert LINES[0].marker != LINES[1].marker
    assert LINES[0].hatch != LINES[1].hatch


# How the colours of a screen (linear RGB) look to an eye without the cones for red, and for green (Machado 2009).
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("theme", [CHRISTMAS, PLAIN])
@pytest.mark.parametrize("blindness", list(BLIND))
def test_the_two_colours_differ_to_the_colour_blind(theme: object, blindness: str) -> None:
    assert isinstance(theme, type(PLAIN))
    seen = [lab(np.clip(np.array(BLIND[blindness]) @ linear(colour), 0, 1)) for colour in theme.colours]
    assert np.linalg.norm(seen[0] - seen[1]) > 20  # CIE 1976; 2 can just be told apart, side by side


def test_equal_plots_give_equal_bytes(tmp_path: Path) -> None:
    plot = next(plots_of(*shown(fake_run(tmp_path, rounds=4, every=2, recorded=0))))
    assert draw_plot(plot, CHRISTMAS, 10) == draw_plot(plot, CHRISTMAS, 10)
    with Image.open(io.BytesIO(draw_plot(plot, PLAIN, 10))) as image:
        assert image.getpixel((0, 0))[:3] == (255, 255, 255)  # type: ignore[index]


def test_the_moving_average_by_hand() -> None:
    assert moving_average([1, 2, 6, 3], 3) == [1.5, 3.0, 11 / 3, 4.5]
    assert moving_average([1, 2, 6], 1) == [1, 2, 6]
    assert moving_average([], 10) == []


def test_a_moving_average_has_an_interval_where_there_are_enough_rounds() -> None:
    values = [0.5, 0.6, 0.4, 0.55, 0.45, 0.5]
    found = window_intervals(values, 5)
    assert [place for place, _ in found] == [2, 3]  # elsewhere the window has fewer than five rounds
    for place, bounds in found:
        assert bounds.mean == pytest.approx(moving_average(values, 5)[place])
        assert bounds.low < bounds.mean < bounds.high
    means = moving_average(list(np.arange(40.0)), 10)
    even = window_intervals(list(np.arange(40.0) / 40), 10)
    assert all(bounds.mean * 40 == pytest.approx(means[place]) for place, bounds in even)


def test_evaluations_are_read_in_order_of_rounds(tmp_path: Path) -> None:
    run = fake_run(tmp_path, rounds=4, every=2, recorded=0)
    write_evaluation(run, 10_000, 10_000)
    evaluations = read_evaluations(run)
    assert [found.rounds_done for found in evaluations.proxies] == [0, 2, 4, 10_000]
    tests = evaluations.tests
    assert [(found.rounds_done, found.checkpoint_name) for found in tests] == [
        (0, "ckpt-0"),
        (2, "ckpt-2"),
        (4, "ckpt-4"),
    ]
    assert tests[0].overall_pass_at_1 == pytest.approx(np.mean([row.pass_at_1 for row in tests[0].per_chart_results]))
    (run.eval_logs / "eval-0002.json").write_text('{"round"')
    with pytest.raises(RunError, match=r"cannot read .*eval-0002\.json"):
        read_evaluations(run)


def test_an_axis_of_shares_has_no_tick_below_0(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Plot("p", "t", "s", "q", "base", [Curve("base", [0, 1, 2], [0.0, 0.0, 0.03])])
    axes = drawn(shares, monkeypatch).axes[0]
    low, high = axes.get_ylim()
    assert -0.005 < low < 0
    assert high > 0.03
    assert min(tick for tick in axes.get_yticks() if low <= tick <= high) == 0
    monkeypatch.undo()
    regrets = Plot("p", "t", "s", "q", "base", [Curve("base", [0, 1, 2], [-0.2, 0.0, 0.03])])
    assert drawn(regrets, monkeypatch).axes[0].get_ylim()[0] < -0.2


def test_the_means_of_single_values_are_drawn_without_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    unbounded = Interval(0.5, -math.inf, math.inf)
    alone = Curve("base", [0, 2, 4], [0.5, 0.6, 0.5], [unbounded, Interval(0.6, 0.4, 0.7), unbounded])
    axes = drawn(Plot("p", "t", "s", "q", "base", [alone]), monkeypatch).axes[0]
    low, high = axes.get_ylim()
    assert 0.3 < low < 0.4
    assert 0.7 < high < 0.8
