"""Everything that a report shows, whatever it is written as."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from artifacts import plots
from artifacts.evaluations import interval, read_checkpoint_tests, read_proxy_evaluations
from artifacts.gallery import Gallery, choose
from artifacts.metrics import read_timings
from artifacts.run import RunDirectory
from artifacts.summary import Headline, headlines, summary
from artifacts.themes import THEMES, Theme
from duel.settings import Settings, flatten
from duel.statistics import Interval


@dataclass(frozen=True)
class EvaluationRow:
    """One row of the evaluation table; None where nothing was measured."""

    rounds_done: int
    similarity: Interval | None
    adversary_reward: Interval | None
    pass_at_1: Interval | None


@dataclass(frozen=True)
class SettingRow:
    """One setting, and whether it differs from the default."""

    name: str
    value: str
    changed: bool


@dataclass(frozen=True)
class ReportContent:
    """One run, gathered for a reader."""

    run: RunDirectory
    theme: Theme
    kind: str
    headlines: list[Headline]
    compared: list[Headline]  # the other run's, empty without one
    compare_name: str
    plots: dict[str, Path]
    evaluations: list[EvaluationRow]
    gallery: Gallery
    settings: list[SettingRow]
    versions: dict[str, str]
    seconds: dict[str, float]  # mean seconds a round, by stage


def gather(run: RunDirectory, compare: RunDirectory | None = None) -> ReportContent:
    """Collect what the report shows, and draw its plots."""
    return ReportContent(
        run=run,
        theme=THEMES[run.settings.report.theme],
        kind="duel" if run.settings.originals == "adversary" else "no adversary",
        headlines=headlines(summary(run)),
        compared=headlines(summary(compare)) if compare else [],
        compare_name=compare.name if compare else "",
        plots=plots.write_plots(run, compare),
        evaluations=evaluation_rows(run),
        gallery=choose(run),
        settings=setting_rows(run.settings),
        versions=_versions(run),
        seconds=_seconds(run),
    )


def evaluation_rows(run: RunDirectory) -> list[EvaluationRow]:
    """Return one row for each number of rounds at which anything was evaluated."""
    proxies = {found.rounds_done: found for found in read_proxy_evaluations(run)}
    tests = {found.rounds_done: found for found in read_checkpoint_tests(run)}
    rows = []
    for done in sorted(proxies.keys() | tests.keys()):
        proxy, test = proxies.get(done), tests.get(done)
        similarity = _interval(proxy.similarities if proxy else [])
        reward = _interval(proxy.adversary_rewards if proxy else [])
        rows.append(EvaluationRow(done, similarity, reward, _interval(test.questions if test else [])))
    return rows


def setting_rows(settings: Settings) -> list[SettingRow]:
    """Return every setting, marking those that differ from the default."""
    default = flatten(Settings())
    return [
        SettingRow(name, json.dumps(value, ensure_ascii=False), changed=value != default[name])
        for name, value in flatten(settings).items()
    ]


def _interval(values: list[float]) -> Interval | None:
    return interval(values) if values else None


def _versions(run: RunDirectory) -> dict[str, str]:
    path = run.path / "versions.json"
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _seconds(run: RunDirectory) -> dict[str, float]:
    timings = read_timings(run)
    stages = [column for column in timings.columns if column.startswith("seconds.")]
    return {stage.removeprefix("seconds."): float(timings[stage].sum()) / len(timings) for stage in stages}
