"""Everything that a report shows, whatever it is written as."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from artifacts.evaluation.comparison import (
    Comparison,
    compare_checkpoints,
    compare_held_out,
    compare_runs,
    differing_similarity,
)
from artifacts.evaluation.selection import Reported, reported_checkpoint
from artifacts.evaluation.summary import Headline, headlines, summary
from artifacts.evaluation.table import EvaluationRow, evaluation_table
from artifacts.plots import curves
from artifacts.report.gallery import Gallery, read_gallery
from artifacts.report.prompt_groups import PromptGroup, group_prompts
from artifacts.report.thumbnails import write_thumbnails
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_timings
from artifacts.run.versions import read_versions
from artifacts.themes import THEMES, Theme
from duel.errors import RunError
from duel.profile import flatten
from duel.settings import Settings
from duel.types import Spend

BESIDE = "report_files"  # the folder of small pictures


@dataclass(frozen=True)
class SettingRow:
    """One setting, and whether it differs from the default."""

    name: str
    value: str
    changed: bool


@dataclass(frozen=True)
class Rival:
    """Another run beside this one."""

    run: RunDirectory
    headlines: list[Headline]
    comparisons: list[Comparison]  # before: the rival's
    not_compared: list[str]  # why something could not be compared


@dataclass(frozen=True)
class ReportContent:
    """One run, gathered for a reader."""

    run: RunDirectory
    theme: Theme
    kind: str
    reported: Reported | None
    change: Comparison | None  # of the reported checkpoint against the run's first one
    headlines: list[Headline]
    rival: Rival | None
    plots: dict[str, Path]
    evaluations: list[EvaluationRow]
    hardest: list[PromptGroup]
    gallery: Gallery
    thumbnails: dict[str, Path]  # small pictures by store key
    settings: list[SettingRow]
    versions: dict[str, str]
    seconds: dict[str, float]  # mean seconds a round, by stage
    spend: Spend | None  # None: nothing was bought

    @property
    def result(self) -> EvaluationRow | None:
        """The evaluation whose pass@1 is the run's result."""
        return next((row for row in self.evaluations if row.reported), None)


def gather(run: RunDirectory, compare: RunDirectory | None = None, spend: Spend | None = None) -> ReportContent:
    """Collect what the report shows, draw its plots, and make the small pictures that are not there yet."""
    gallery = read_gallery(run)
    return ReportContent(
        run=run,
        theme=THEMES[run.settings.report.theme],
        kind="duel" if run.settings.originals == "adversary" else "no adversary",
        reported=reported_checkpoint(run),
        change=compare_checkpoints(run),
        headlines=headlines(summary(run)),
        rival=compared(run, compare) if compare else None,
        plots=curves.write_plots(run, compare),
        evaluations=evaluation_table(run),
        hardest=group_prompts(list(gallery.cases())),
        gallery=gallery,
        thumbnails=write_thumbnails(run.path / BESIDE, _images(gallery)),
        settings=setting_rows(run.settings),
        versions=read_versions(run.path).by_name,
        seconds=_seconds(run),
        spend=spend,
    )


def compared(run: RunDirectory, other: RunDirectory) -> Rival:
    """Return what two runs can be compared by; what cannot be compared yet, or at all, is said."""
    found, missing = [], []
    try:
        found.append(compare_runs(run, other))
    except RunError as error:  # a run under way has no evaluation yet: the rest of the report stands without it
        missing.append(f"pass@1: {error}")
    different = differing_similarity(run.settings, other.settings)
    held_out = compare_held_out(run, other)
    if held_out is not None:
        found.append(held_out)
    elif different:
        missing.append(f"held-out similarity: the runs differ in {', '.join(different)}")
    else:
        missing.append("held-out similarity: one of the two runs has no such evaluation yet")
    return Rival(other, headlines(summary(other)), found, missing)


def setting_rows(settings: Settings) -> list[SettingRow]:
    """Return every setting, marking those that differ from the default."""
    default = flatten(Settings())
    return [
        SettingRow(name, json.dumps(value, ensure_ascii=False), changed=value != default[name])
        for name, value in flatten(settings).items()
    ]


def _images(gallery: Gallery) -> dict[str, Path]:
    """Return where the image of each store key lies."""
    found: dict[str, Path] = {}
    for case in gallery.cases():
        for which in ("drawing", "reconstruction"):
            path = case.file(which)
            if path is not None:
                found.setdefault(case.attempt.image(which).key or "", path)
    return found


def _seconds(run: RunDirectory) -> dict[str, float]:
    timings = read_timings(run)
    stages = [column for column in timings.columns if column.startswith("seconds.")]
    return {stage.removeprefix("seconds."): float(timings[stage].sum()) / len(timings) for stage in stages}
