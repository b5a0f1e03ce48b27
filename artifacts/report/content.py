"""Collects the content of a report, independent of its format (HTML or PDF)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from artifacts.evaluation.canary import canary_warning
from artifacts.evaluation.comparison import Comparison, compare_held_out, compare_runs, differing_similarity
from artifacts.evaluation.read import Evaluations
from artifacts.evaluation.selection import Reported, reported_checkpoint
from artifacts.evaluation.strata import StratumComparison, compare_strata_of_runs, compare_strata_with_start
from artifacts.evaluation.summary import Headline, headlines, summarise
from artifacts.evaluation.table import EvaluationRow
from artifacts.evaluation.verdict import verdict
from artifacts.plots.curves import write_plots
from artifacts.report.gallery import Gallery, read_gallery
from artifacts.report.prompt_groups import PromptGroup, group_prompts
from artifacts.report.thumbnails import write_thumbnails
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import TrainingLog, read_training_log
from artifacts.run.versions import read_versions
from artifacts.themes import THEMES, Theme
from duel.errors import RunError
from duel.settings import Settings
from duel.settings.profile import flatten
from duel.types import Spend

BESIDE = "report_files"  # folder of thumbnails, beside report.html


@dataclass(frozen=True)
class SettingRow:
    """A setting's name and value, and whether it differs from the default."""

    name: str
    value: str
    changed: bool


@dataclass(frozen=True)
class Rival:
    """The other run of a comparison."""

    run: RunDirectory
    headlines: list[Headline]
    comparisons: list[Comparison]  # `before` is the other run
    strata: list[StratumComparison]  # likewise
    verdict: list[str]  # whether the adversary helped, where one run has one and the other has none
    not_compared: list[str]  # measures that could not be compared, with the reason


@dataclass(frozen=True)
class ReportContent:
    """Everything that the report of a run shows."""

    run: RunDirectory
    theme: Theme
    kind: str
    reported: Reported | None
    change: Comparison | None  # pass@1 of the reported checkpoint against the run's first one
    headlines: list[Headline]
    rival: Rival | None
    plots: dict[str, Path]
    evaluations: list[EvaluationRow]
    strata: list[StratumComparison]  # the run's start and now
    warning: str | None  # the base is losing the ability to answer
    hardest: list[PromptGroup]
    gallery: Gallery
    thumbnails: dict[str, Path]  # by store key
    settings: list[SettingRow]
    versions: dict[str, str]
    seconds: dict[str, float]  # mean seconds per round, by stage
    spend: Spend | None  # None: no images were bought

    @property
    def result(self) -> EvaluationRow | None:
        """The row of the reported checkpoint; None before any is evaluated."""
        return next((row for row in self.evaluations if row.reported), None)


def gather(
    ours: Evaluations,
    rows: list[EvaluationRow],
    theirs: Evaluations | None = None,
    spend: Spend | None = None,
) -> ReportContent:
    """Collect the content of a run's report, write its plots, and write the thumbnails that are missing.

    `rows` is the `evaluation_table` of `ours`; with `theirs`, another run's evaluations, the two runs are compared.
    """
    run, log, gallery = ours.run, read_training_log(ours.run), read_gallery(ours.run)
    numbers = summarise(ours, log)
    return ReportContent(
        run=run,
        theme=THEMES[run.settings.report.theme],
        kind="duel" if run.settings.originals == "adversary" else "no adversary",
        reported=reported_checkpoint(ours),
        change=numbers.changes.get("pass@1"),
        headlines=headlines(numbers),
        rival=compared(ours, theirs, log) if theirs else None,
        plots=write_plots(run, log, rows, ours, theirs),
        evaluations=rows,
        strata=compare_strata_with_start(ours),
        warning=canary_warning(ours.proxies),
        hardest=group_prompts(list(gallery.cases())),
        gallery=gallery,
        thumbnails=write_thumbnails(run.path / BESIDE, _images(gallery)),
        settings=setting_rows(run.settings),
        versions=read_versions(run.path).by_name,
        seconds=_seconds(log),
        spend=spend,
    )


def compared(ours: Evaluations, theirs: Evaluations, log: TrainingLog) -> Rival:
    """Compare two runs in every measure that both have; `not_compared` gives the reasons for the others."""
    found, missing = [], []
    try:
        found.append(compare_runs(ours, theirs))
    except RunError as error:  # a run in training has no evaluation yet; the report omits this comparison
        missing.append(f"pass@1: {error}")
    different = differing_similarity(ours.run.settings, theirs.run.settings)
    held_out = compare_held_out(ours, theirs)
    if held_out is not None:
        found.append(held_out)
    elif different:
        missing.append(f"held-out similarity: the runs differ in {', '.join(different)}")
    else:
        missing.append("held-out similarity: one of the two runs has no such evaluation yet")
    their_log = read_training_log(theirs.run)
    strata = compare_strata_of_runs(ours, theirs)
    kinds = ours.run.settings.originals, theirs.run.settings.originals
    helped = verdict(strata, (log.draws_asked, their_log.draws_asked)) if kinds == ("adversary", "dataset") else []
    return Rival(theirs.run, headlines(summarise(theirs, their_log)), found, strata, helped, missing)


def setting_rows(settings: Settings) -> list[SettingRow]:
    """Return a row for every setting, with those marked that differ from the default."""
    default = flatten(Settings())
    return [
        SettingRow(name, json.dumps(value, ensure_ascii=False), changed=value != default[name])
        for name, value in flatten(settings).items()
    ]


def _images(gallery: Gallery) -> dict[str, Path]:
    """Return an image file for each store key."""
    found: dict[str, Path] = {}
    for case in gallery.cases():
        for which in ("drawing", "reconstruction"):
            path = case.file(which)
            if path is not None:
                found.setdefault(case.attempt.image(which).key or "", path)
    return found


def _seconds(log: TrainingLog) -> dict[str, float]:
    timings = log.timings
    stages = [column for column in timings.columns if column.startswith("seconds.")]
    return {stage.removeprefix("seconds."): float(timings[stage].sum()) / len(timings) for stage in stages}
