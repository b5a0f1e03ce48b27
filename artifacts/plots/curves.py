"""Which data the plots of a run show: training and evaluation curves; plots without data are left out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from artifacts.evaluation.read import Evaluations, similarity_interval
from artifacts.evaluation.records import graded_means
from artifacts.evaluation.strata import COMMON, HARD, similarities_by_group
from artifacts.evaluation.table import EvaluationRow
from artifacts.plots.drawing import Curve, Plot, draw_plot, window_intervals
from artifacts.run import files
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import TrainingLog
from artifacts.themes import THEMES
from duel.statistics import Interval, proportion_interval
from duel.types import Player

PLAYERS: tuple[Player, ...] = ("base", "adversary")
SMALLEST_GAP = 1e-9  # of log-probabilities; smaller ones are drawn there: an axis of powers of ten has no place for 0


def write_plots(
    run: RunDirectory,
    log: TrainingLog,
    rows: Sequence[EvaluationRow],
    ours: Evaluations,
    theirs: Evaluations | None = None,
) -> dict[str, Path]:
    """Write a PNG into `plots/` for each plot that has data; return the paths by plot name.

    `rows` is the `evaluation_table` of `ours`; with `theirs`, another run's, the pass@1 of both is compared.
    """
    theme = THEMES[run.settings.report.theme]
    written = {}
    for plot in plots_of(run, log, rows, ours, theirs):
        path = run.plots / f"{plot.name}.png"
        files.write_bytes(path, draw_plot(plot, theme, run.settings.report.moving_average))
        written[plot.name] = path
    return written


def plots_of(
    run: RunDirectory,
    log: TrainingLog,
    rows: Sequence[EvaluationRow],
    ours: Evaluations,
    theirs: Evaluations | None = None,
) -> Iterator[Plot]:
    """Yield the plots that have data, in the report's order; `theirs` adds one of pass@1 of both runs."""
    window = run.settings.report.moving_average
    images, prompts, questions, asked = (
        f"mean over {what}, with its 95 % interval"
        for what in ("held-out images", "fresh prompts", "questions", "a fixed handful of questions")
    )
    cosine = "similarity (cosine)"
    similarity = {player: _training(log, player, "similarity_mean", window) for player in ("base", "adversary")}
    rewards = _training(log, "adversary", "reward_mean", window)
    candidates = [
        Plot("base_training_similarity", "Base: similarity in training", _points(similarity["base"], window), cosine,
             "base", similarity["base"]),
        Plot("base_evaluation_similarity", "Base: similarity on held-out images", images, cosine, "base",
             _measured("base", [(row.rounds_done, row.similarity) for row in rows])),
        _strata(ours),
        Plot("adversary_training_similarity", "Adversary: similarity in training",
             _points(similarity["adversary"], window), cosine, "adversary", similarity["adversary"]),
        Plot("adversary_training_reward", "Adversary: reward in training", _points(rewards, window), "reward",
             "adversary", rewards),
        *_adversary_health(log, window),
        Plot("adversary_evaluation", "Adversary: evaluation on fresh prompts", prompts, "reward, similarity",
             "adversary", _fresh_prompts(rows)),
        Plot("canary", "Canary: does the base still answer?", asked, "share", "base", _canary(rows)),
        Plot("pass_at_1", "Questions answered: pass@1", questions, "pass@1", "base", _pass_at_1(rows)),
        *_abilities(log, window),
        _logprob_gap(log, window),
    ]  # fmt: skip
    if theirs is not None:
        both = [curve for evaluations in (ours, theirs) for curve in _pass_at_1_by_base_rounds(evaluations)]
        title = "Questions answered: pass@1 of two runs"
        curves = both if len(both) == 2 else []
        comparison = Plot(
            "pass_at_1_comparison", title, questions, "pass@1", "base", curves, "rounds in which the base learned"
        )
        candidates.append(comparison)
    yield from (plot for plot in candidates if plot.curves)


def _points(curves: list[Curve], window: int) -> str:
    note = f"each point a round; line: moving average over {window}"
    return f"{note}, with its 95 % interval" if any(curve.band for curve in curves) else note


def _strata(evaluations: Evaluations) -> Plot:
    """Similarity of held-out charts that are hard, all sorts pooled, and common; without strata there is no curve."""
    found = [(proxy.rounds_done, similarities_by_group(proxy)) for proxy in evaluations.proxies]
    curves = [
        curve
        for name in (HARD, COMMON)
        for curve in _measured(
            f"{name} charts",
            [(rounds, similarity_interval([*groups[name].values()])) for rounds, groups in found if name in groups],
        )
    ]
    title = "Base: similarity on hard and on common charts"
    note = "mean over held-out charts, with its 95 % interval"
    return Plot("strata_similarity", title, note, "similarity (cosine)", "base", curves)


def _adversary_health(log: TrainingLog, window: int) -> list[Plot]:
    """Whether the adversary's prompts stay usable: they say what they want, differ, and few are invalid."""
    points, share = _points([], window), "mean over a round's prompts"
    regret = [
        replace(curve, label=label)
        for label, column in (("regret", "regret_mean"), ("plain reward, 1 - similarity", "plain_mean"))
        for curve in _training(log, "adversary", column)
    ]
    invalid = [
        replace(curve, label=label)
        for label, column in (("drawn unlike twice", "invalid_ceiling"), ("refused", "invalid_refused"))
        for curve in _training(log, "adversary", column)
    ]
    alike = [
        replace(curve, label=label)
        for label, column in (
            ("two drawings of a prompt", "ceiling_mean"),
            ("prompts of a group", "self_similarity_mean"),
        )
        for curve in _training(log, "adversary", column)
    ]
    asked = _training(log, "adversary", "distinct_clusters")
    ages = _training(log, "base", "replay_age_mean")
    return [
        Plot("adversary_regret", "Adversary: regret and plain reward", points, share, "adversary", regret),
        Plot("adversary_invalid", "Adversary: prompts that count as invalid", points, "share", "adversary", invalid),
        Plot(
            "adversary_likeness",
            "Adversary: likeness of its drawings",
            points,
            "similarity (cosine)",
            "adversary",
            alike,
        ),
        Plot(
            "adversary_clusters",
            "Adversary: different things it asks for",
            points,
            "clusters",
            "adversary",
            asked,
            least=2,
        ),
        Plot(
            "replay_age",
            "Replay: rounds since the drawings were last described",
            points,
            "rounds",
            "base",
            ages,
            least=2,
        ),
    ]


def _abilities(log: TrainingLog, window: int) -> list[Plot]:
    """How long completions are, how many are cut, and how far the players have moved: signs of unlearning to end."""
    lengths, finished, divergences = (
        [curve for player in PLAYERS for curve in _training(log, player, column)]
        for column in ("completion_tokens_mean", "finished", "divergence")
    )
    unfinished = [replace(curve, values=[1 - share for share in curve.values]) for curve in finished]
    points = _points([], window)
    return [
        Plot("completion_length", "Length of completions in training", points, "tokens (mean)", "base", lengths),
        Plot("unfinished", "Completions cut at the token limit, in training", points, "share", "base", unfinished),
        Plot("divergence", "Divergence from the untrained model", points, "KL (nats per token)", "base", divergences),
    ]


def _logprob_gap(log: TrainingLog, window: int) -> Plot:
    """How far the sampler's and the learner's log-probabilities of the same tokens are apart: drift is a fault."""
    means, largest = (
        [curve for player in PLAYERS for curve in _training(log, player, column)]
        for column in ("logprob_gap_mean", "logprob_gap_max")
    )
    shown = [replace(curve, values=[max(value, SMALLEST_GAP) for value in curve.values]) for curve in means]
    most = max((value for curve in largest for value in curve.values), default=0.0)
    points = (
        f"each point a round's mean over tokens; line: moving average over {window}; largest of a token: {most:.1e}"
    )
    title = "Sampler and learner: difference of log-probabilities"
    return Plot("logprob_gap", title, points, "absolute difference (nats)", "base", shown, scale="log")


def _training(log: TrainingLog, player: Player, column: str, window: int | None = None) -> list[Curve]:
    """Return a column of metrics as a curve of single rounds; with `window`, its moving average has intervals."""
    if column not in log.metrics:  # nothing is recorded yet, or by a version that did not measure it
        return []
    rows = log.metrics[log.metrics["player"] == player].dropna(subset=[column])
    if rows.empty:
        return []
    values = [float(value) for value in rows[column]]
    largest = 1.0 if column == "similarity_mean" else math.inf  # a reward may have any range
    band = window_intervals(values, window, largest) if window else []
    return [Curve(player, [int(r) for r in rows["round"]], values, band=band)]


def _fresh_prompts(rows: Sequence[EvaluationRow]) -> list[Curve]:
    return [
        *_measured("reward", [(row.rounds_done, row.adversary_reward) for row in rows]),
        *_measured("similarity", [(row.rounds_done, row.adversary_similarity) for row in rows]),
    ]


def _canary(rows: Sequence[EvaluationRow]) -> list[Curve]:
    return [
        *_measured("right answers", [(row.rounds_done, row.canary) for row in rows]),
        *_measured("unfinished answers", [(row.rounds_done, row.canary_unfinished) for row in rows]),
    ]


def _pass_at_1(rows: Sequence[EvaluationRow]) -> list[Curve]:
    return _measured("pass@1", [(row.rounds_done, row.questions.pass_at_1) for row in rows if row.questions])


def _pass_at_1_by_base_rounds(evaluations: Evaluations) -> list[Curve]:
    """Return pass@1 by the base's own rounds, so that runs with and without adversary are comparable."""
    run = evaluations.run
    found: list[tuple[int, Interval | None]] = []
    for test in evaluations.tests:
        known = graded_means(test.per_chart_results)
        base_rounds = run.settings.schedule.turns_of("base", test.rounds_done)
        found.append((base_rounds, proportion_interval(known) if known else None))
    return _measured(_label(run), found)


def _measured(label: str, found: Sequence[tuple[int, Interval | None]]) -> list[Curve]:
    """Return at most one curve: the mean and its interval at each evaluation that has values."""
    kept = [(rounds, mean) for rounds, mean in found if mean is not None]
    if not kept:
        return []
    return [Curve(label, [r for r, _ in kept], [i.mean for _, i in kept], [i for _, i in kept])]


def _label(run: RunDirectory) -> str:
    kind = "duel" if run.settings.originals == "adversary" else "no adversary"
    name = run.name if len(run.name) <= 24 else run.name[:23] + "…"
    return name if name == kind else f"{name} ({kind})"
