"""The plots of a run, each skipped where its data is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from artifacts.evaluation.read import (
    pass_interval,
    read_checkpoint_tests,
    read_proxy_evaluations,
    reward_interval,
    similarity_interval,
)
from artifacts.plots.drawing import Curve, Plot, draw_plot, window_intervals
from artifacts.run import files
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_metrics
from artifacts.themes import THEMES
from duel.schedule import turns_of
from duel.statistics import Interval
from duel.types import Player

PLAYERS: tuple[Player, ...] = ("base", "adversary")
SMALLEST_GAP = 1e-9  # of log-probabilities; smaller ones are drawn there: an axis of powers of ten has no place for 0


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
    images, prompts, questions = (
        f"mean over {what}, with its 95 % interval" for what in ("held-out images", "fresh prompts", "questions")
    )
    cosine = "similarity (cosine)"
    similarity = {player: _training(run, player, "similarity_mean") for player in ("base", "adversary")}
    rewards = _training(run, "adversary", "reward_mean")
    candidates = [
        Plot("base_training_similarity", "Base: similarity in training", _points(similarity["base"], window), cosine,
             "base", similarity["base"]),
        Plot("base_evaluation_similarity", "Base: similarity on held-out images", images, cosine, "base",
             _held_out(run)),
        Plot("adversary_training_similarity", "Adversary: similarity in training",
             _points(similarity["adversary"], window), cosine, "adversary", similarity["adversary"]),
        Plot("adversary_training_reward", "Adversary: reward in training", _points(rewards, window), "reward",
             "adversary", rewards),
        Plot("adversary_evaluation", "Adversary: evaluation on fresh prompts", prompts, "reward, similarity",
             "adversary", _fresh_prompts(run)),
        Plot("pass_at_1", "Questions answered: pass@1", questions, "pass@1", "base", _pass_at_1(run, "pass@1")),
        _logprob_gap(run),
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


def _points(curves: list[Curve], window: int) -> str:
    note = f"each point a round; line: moving average over {window}"
    surely = any(len(window_intervals(curve.values, window)) > 0 for curve in curves)
    return f"{note}, with its 95 % interval" if surely else note


def _logprob_gap(run: RunDirectory) -> Plot:
    """How far the sampler's and the learner's log-probabilities of the same tokens are apart: drift is a fault."""
    means, largest = (
        [curve for player in PLAYERS for curve in _training(run, player, column)]
        for column in ("logprob_gap_mean", "logprob_gap_max")
    )
    shown = [replace(curve, values=[max(value, SMALLEST_GAP) for value in curve.values]) for curve in means]
    window = run.settings.report.moving_average
    most = max((value for curve in largest for value in curve.values), default=0.0)
    points = (
        f"each point a round's mean over tokens; line: moving average over {window}; largest of a token: {most:.1e}"
    )
    title = "Sampler and learner: difference of log-probabilities"
    return Plot("logprob_gap", title, points, "absolute difference (nats)", "base", shown, scale="log")


def _training(run: RunDirectory, player: Player, column: str) -> list[Curve]:
    metrics = read_metrics(run)
    if column not in metrics:  # nothing is recorded yet, or by a version that did not measure it
        return []
    rows = metrics[metrics["player"] == player].dropna(subset=[column])
    if rows.empty:
        return []
    return [Curve(player, [int(r) for r in rows["round"]], [float(value) for value in rows[column]])]


def _held_out(run: RunDirectory) -> list[Curve]:
    found = [(e.rounds_done, e.similarities) for e in read_proxy_evaluations(run)]
    return _measured("base", found, similarity_interval)


def _fresh_prompts(run: RunDirectory) -> list[Curve]:
    evaluations = read_proxy_evaluations(run)
    rewards = [(e.rounds_done, e.adversary_rewards) for e in evaluations]
    similarities = [(e.rounds_done, e.adversary_similarities) for e in evaluations]
    return [
        *_measured("reward", rewards, reward_interval),
        *_measured("similarity", similarities, similarity_interval),
    ]


def _pass_at_1(run: RunDirectory, label: str, of_base: bool = False) -> list[Curve]:
    """With `of_base` over the base's own rounds, so that runs with and without adversary can be compared."""
    tests = read_checkpoint_tests(run)
    return _measured(
        label,
        [
            (turns_of("base", run.settings.order, test.rounds_done) if of_base else test.rounds_done, test.questions)
            for test in tests
        ],
        pass_interval,
    )


def _measured(
    label: str, found: list[tuple[int, list[float]]], mean: Callable[[Sequence[float]], Interval]
) -> list[Curve]:
    """Return a curve of means with their intervals, if anything was measured."""
    kept = [(rounds, mean(values)) for rounds, values in found if values]
    if not kept:
        return []
    return [Curve(label, [r for r, _ in kept], [i.mean for _, i in kept], [i for _, i in kept])]


def _label(run: RunDirectory) -> str:
    kind = "duel" if run.settings.originals == "adversary" else "no adversary"
    name = run.name if len(run.name) <= 24 else run.name[:23] + "…"
    return name if name == kind else f"{name} ({kind})"
