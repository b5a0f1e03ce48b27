"""Values of every run by draws, as the table and the intervals need them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from artifacts.evaluation.read import read_evaluations
from artifacts.evaluation.records import CheckpointTest, ProxyRecord
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_metrics
from benchmarks.farm.intervals import ByStratum, at_draws, paired_difference
from duel.offline.strata import STRATA
from duel.statistics import Interval

COMMON, HARD_STRATA = ("common",), tuple(stratum for stratum in STRATA if stratum != "common")
MEASURES = ("similarity", "answers")


@dataclass(frozen=True)
class Results:
    """The evaluations of one run, by rounds: `draws`, `canary`, and values by stratum for each of MEASURES."""

    evaluations: list[dict[str, Any]]
    metrics: pd.DataFrame

    @property
    def draws(self) -> int:
        """How many images the rounds asked for."""
        return int(self.evaluations[-1]["draws"])

    def at(self, draws: float, measure: str) -> ByStratum:
        """Return one value per chart of each stratum after so many draws, linear between evaluations."""

        def value(stratum: str) -> Callable[[Any], Any]:
            return lambda found: np.array(found[measure][stratum])

        return {stratum: at_draws(self.evaluations, draws, value(stratum)).tolist() for stratum in STRATA}


def read_results(run: RunDirectory) -> Results:
    """Read an evaluated run. Raises ValueError where a checkpoint lacks answers or the strata."""
    found, metrics = read_evaluations(run), read_metrics(run)
    tests = {test.rounds_done: test for test in found.tests}
    if missing := [proxy.rounds_done for proxy in found.proxies if proxy.rounds_done not in tests]:
        raise ValueError(f"{run.name}: no answers after {missing} rounds; expected `duel evaluate` to have put them")
    asked = metrics["draws_asked"].cumsum().tolist()
    rows = [
        _row(proxy, tests[proxy.rounds_done], asked[proxy.rounds_done - 1] if proxy.rounds_done else 0)
        for proxy in found.proxies
    ]
    return Results(rows, metrics)


def _row(proxy: ProxyRecord, test: CheckpointTest, draws: int) -> dict[str, Any]:
    answers: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for question in test.strata_results:
        if question.stratum is not None and question.pass_at_1 is not None:
            answers[question.stratum][question.figure_id].append(question.pass_at_1)
    return {
        "rounds": proxy.rounds_done,
        "draws": draws,
        "canary": fmean(proxy.canary.scores) if proxy.canary else None,
        "similarity": {name: list(values.values()) for name, values in proxy.stratum_similarity_of.items()},
        "answers": {name: [fmean(charts[c]) for c in sorted(charts)] for name, charts in answers.items()},
    }


def fewest_draws(arms: Mapping[str, Mapping[int, Results]]) -> int:
    """Return the largest number of draws that every run has paid."""
    return min(found.draws for seeds in arms.values() for found in seeds.values())


def mean(seeds: Mapping[int, Results], draws: float, measure: str, strata: Sequence[str]) -> float:
    """Return the mean over seeds, strata and charts after so many draws."""
    values = [found.at(draws, measure) for found in seeds.values()]
    return fmean(fmean(fmean(value[stratum]) for stratum in strata) for value in values)


def difference(
    one: Mapping[int, Results], other: Mapping[int, Results], draws: float, measure: str, strata: Sequence[str]
) -> Interval:
    """Return the paired difference of two arms after so many draws; intervals over seeds and charts."""
    values = [{seed: found.at(draws, measure) for seed, found in arm.items()} for arm in (one, other)]
    return paired_difference(values[0], values[1], strata)
