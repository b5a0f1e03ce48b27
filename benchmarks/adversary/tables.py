"""The comparison as text: Markdown tables of arms at equal draws and of their differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean

import pandas as pd

from benchmarks.adversary.results import COMMON, HARD_STRATA, MEASURES, Results, difference, fewest_draws, mean
from duel.statistics import Interval

Seeds = Mapping[int, Results]
GROUPS = {"hard": HARD_STRATA, "common": COMMON, **{stratum: (stratum,) for stratum in HARD_STRATA}}
RIVALS = ("none", "untrained")  # that the other arms are compared with
EDGE = 10  # rounds at either end of a run whose mean is its start or end


def lines_of(arms: Mapping[str, Seeds]) -> Iterator[str]:
    """Yield the tables: arms at equal draws, differences from the rivals, and what the adversaries became."""
    draws = fewest_draws(arms)
    yield from ("", f"After {draws} draws, the most that every run has paid; mean over seeds and charts:", "")
    columns = [f"{measure}, {group}" for measure in MEASURES for group in ("hard", "common")]
    yield from header("arm", "seeds", "rounds", "draws", *columns, "canary, lowest change")
    for name, seeds in arms.items():
        values = [mean(seeds, draws, measure, GROUPS[group]) for measure in MEASURES for group in ("hard", "common")]
        yield row(
            name,
            str(len(seeds)),
            span([len(found.metrics) for found in seeds.values()]),
            span([found.draws for found in seeds.values()]),
            *(f"{value:.3f}" for value in values),
            canary(seeds),
        )
    for rival in RIVALS:
        if rival in arms and len(arms) > 1:
            yield from ("", f"Difference from `{rival}` after {draws} draws, 95 % interval over seeds and charts:", "")
            yield from differences(arms, rival, draws)
    yield from ("", f"Adversaries, mean of the first and of the last {EDGE} of their rounds:", "")
    yield from header("arm", "self-similarity", "plain reward", "regret", "invalid")
    for name, seeds in arms.items():
        if any((found.metrics["player"] == "adversary").any() for found in seeds.values()):
            yield row(
                name,
                *(course(seeds, of) for of in ("self_similarity_mean", "plain_mean", "regret_mean")),
                invalid(seeds),
            )


def differences(arms: Mapping[str, Seeds], rival: str, draws: int) -> Iterator[str]:
    """Yield the table of differences from one arm, by measure and stratum."""
    others = [name for name in arms if name != rival]
    yield from header("", *others)
    for measure in MEASURES:
        for group, strata in GROUPS.items():
            found = [difference(arms[name], arms[rival], draws, measure, strata) for name in others]
            yield row(f"{measure}, {group}", *(shown(interval) for interval in found))


def header(*names: str) -> Iterator[str]:
    """Yield the two lines that begin a Markdown table."""
    yield row(*names)
    yield row(*("---" for _ in names))


def row(*cells: str) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def shown(interval: Interval) -> str:
    """Return `+0.078 [0.066, 0.091]`."""
    return f"{interval.mean:+.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def span(values: list[int]) -> str:
    """Return the range of whole numbers, or the only one."""
    return str(values[0]) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def canary(seeds: Seeds) -> str:
    """Return the canary's mean over seeds at the start, and the lowest change from it of any evaluation of any seed."""
    courses = [[row["canary"] for row in found.evaluations] for found in seeds.values()]
    if any(value is None for course in courses for value in course):
        return ""
    start = fmean(course[0] for course in courses)
    return f"{start:.3f}, {min(value - course[0] for course in courses for value in course):+.3f}"


def course(seeds: Seeds, column: str) -> str:
    """Return the mean over seeds of a column of metrics at the start and at the end of the adversary's rounds."""
    found = [column_of(one, column) for one in seeds.values()]
    start, end = (pd.Series([edge(values).mean() for values in found]).mean() for edge in (first, last))
    return f"{start:.2f} → {end:.2f}"


def invalid(seeds: Seeds) -> str:
    """Return the same of the share of prompts that are invalid for any reason."""
    reasons = ("invalid_refused", "invalid_ceiling", "invalid_off_topic")
    found = [sum(column_of(one, reason).fillna(0) for reason in reasons) for one in seeds.values()]
    start, end = (pd.Series([edge(values).mean() for values in found]).mean() for edge in (first, last))
    return f"{start:.2f} → {end:.2f}"


def column_of(found: Results, column: str) -> pd.Series:
    """Return a column of metrics in the adversary's rounds."""
    return found.metrics.loc[found.metrics["player"] == "adversary", column].astype(float)


def first(values: pd.Series) -> pd.Series:
    """Return the values at the start."""
    return values[:EDGE]


def last(values: pd.Series) -> pd.Series:
    """Return the values at the end."""
    return values[-EDGE:]
