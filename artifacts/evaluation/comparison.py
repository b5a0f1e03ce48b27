"""Paired comparison of two evaluations: of two checkpoints of a run, or of the reported checkpoints of two runs.

Units (questions, held-out images, prompt seeds) are paired by name, never by position; units that only one of the two
has are left out and counted. `artifacts.evaluation.table` collects these comparisons for every checkpoint of a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any, Literal

from artifacts.evaluation.read import Evaluations
from artifacts.evaluation.records import AskedHow, CheckpointTest, ProxyRecord, QuestionResult, Unit
from artifacts.evaluation.selection import Reported, reported_checkpoint
from artifacts.evaluation.write import asked_how
from duel.errors import RunError
from duel.settings import Settings
from duel.statistics import (
    Interval,
    detectable,
    paired_differences,
    paired_interval,
    sampling_deviation,
    sign_flip_p,
    units_needed,
)

Measure = Literal["pass@1", "held-out similarity", "adversary's reward", "canary", "similarity", "answers"]
UNITS: dict[Measure, str] = {
    "pass@1": "questions",
    "held-out similarity": "held-out images",
    "adversary's reward": "prompt seeds",
    "canary": "canary questions",
    "similarity": "charts",  # of a stratum
    "answers": "questions",  # about the charts of a stratum
}
# Largest absolute difference of a measure: shares are in [0, 1], similarities in [-1, 1], a reward may have any range.
LARGEST: dict[Measure, float] = {
    "pass@1": 1.0,
    "canary": 1.0,
    "held-out similarity": 2.0,
    "similarity": 2.0,
    "answers": 1.0,
    "adversary's reward": math.inf,
}
# Settings that must be equal for the similarities of two runs to be comparable.
SAME_SIMILARITY = (
    "models.embedder", "models.embedder_size", "generator.service", "generator.model", "generator.version",
    "generator.parameters", "data.source", "data.path", "data.test_images",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """The difference of two evaluations in the mean over their common units."""

    measure: Measure
    before: str  # a checkpoint, or run and checkpoint
    after: str
    n: int  # units that both have
    left_out: int  # units that only one of the two has
    before_mean: float  # over the common units
    after_mean: float
    difference: Interval  # after - before
    p_value: float  # sign-flip permutation test, two-sided
    deviation: float | None  # standard deviation of the differences over units; None for one unit
    chance: float = 0.0  # the deviation between two samplings of the same model's answers; 0: not known

    @property
    def units(self) -> str:
        """The name of the units: questions, held-out images, prompt seeds or canary questions."""
        return UNITS[self.measure]

    @property
    def spread(self) -> float | None:
        """The standard deviation for power calculations: the larger of `deviation` and `chance`; None if it would be 0.

        Two almost equal checkpoints give almost equal answers under equal seeds, so that their deviation
        underestimates that of models which do differ; the deviation between two samplings is a lower bound for those.
        """
        return max(self.deviation or 0.0, self.chance) or None

    def units_needed(self, difference: float) -> int | None:
        """Return the number of units that detects `difference` with 80 % power; None if the spread is unknown."""
        return units_needed(self.spread, difference) if self.spread else None

    def detectable(self) -> float | None:
        """Return the difference that these `n` units detect with 80 % power; None if the spread is unknown."""
        return detectable(self.spread, self.n) if self.spread else None


def compare_checkpoints(evaluations: Evaluations) -> Comparison | None:
    """Compare pass@1 of the reported checkpoint with the run's first one; None if there are not two to compare."""
    reported, tests = reported_checkpoint(evaluations), evaluations.tests
    if reported is None or reported.test.rounds_done == tests[0].rounds_done:
        return None
    return compare_tests(tests[0], reported.test)


def compare_tests(
    before: CheckpointTest, after: CheckpointTest, chosen: Callable[[QuestionResult], bool] = lambda _: True
) -> Comparison | None:
    """Compare pass@1 of two checkpoints of a run over the `chosen` questions, paired by question.

    Returns None if no question has grades from both, or if the two were evaluated with different settings (the next
    `duel evaluate` repeats those that are out of date).
    """
    if _differences(before.how, after.how):
        return None
    earlier, later = (list(filter(chosen, test.per_chart_results)) for test in (before, after))
    return _compare_answers(before.checkpoint_name, earlier, after.checkpoint_name, later)


def compare_runs(ours: Evaluations, theirs: Evaluations) -> Comparison:
    """Compare pass@1 of the reported checkpoints of two runs (`before` is theirs), paired by question.

    Raises RunError when one is not evaluated, when the two were evaluated with different settings, or when they have
    no graded question in common.
    """
    before, after = _reported_or_refuse(theirs).test, _reported_or_refuse(ours).test
    names = f"{theirs.run.name} {before.checkpoint_name}", f"{ours.run.name} {after.checkpoint_name}"
    different = _differences(before.how or asked_how(theirs.run.settings), after.how or asked_how(ours.run.settings))
    if different:
        raise RunError(
            f"{names[0]} and {names[1]} were evaluated with different settings: {'; '.join(different)}; "
            "evaluate both with the same settings"
        )
    found = _compare_answers(names[0], before.per_chart_results, names[1], after.per_chart_results)
    if found is None:
        raise RunError(
            f"{names[0]} and {names[1]} have no graded question in common; "
            "expected runs evaluated on the same data set (data.source, data.path)"
        )
    return found


def compare_held_out(ours: Evaluations, theirs: Evaluations) -> Comparison | None:
    """Compare held-out similarity of two runs at their last evaluations (`before` is theirs), paired by image.

    Returns None if one has no such evaluation, if no image is common, or if the similarities are not comparable
    (`differing_similarity` returns the settings that differ).
    """
    if not ours.proxies or not theirs.proxies or differing_similarity(ours.run.settings, theirs.run.settings):
        return None
    before, after = (f"{one.run.name} after {one.proxies[-1].rounds_done} rounds" for one in (theirs, ours))
    earlier, later = (one.proxies[-1].similarity_of for one in (theirs, ours))
    return compare_units("held-out similarity", before, earlier, after, later)


def compare_proxies(before: ProxyRecord, after: ProxyRecord) -> list[Comparison]:
    """Compare two proxy evaluations of a run in held-out similarity, the adversary's reward and the canary.

    Held-out images are the same, described and redrawn under the same seeds. Prompts share only their seeds: after
    updates the adversary writes other prompts, so that pairing removes little variance.
    """
    names = f"{before.rounds_done} rounds", f"{after.rounds_done} rounds"
    found = [
        compare_units("held-out similarity", names[0], before.similarity_of, names[1], after.similarity_of),
        compare_units("adversary's reward", names[0], before.reward_of, names[1], after.reward_of),
        compare_units("canary", names[0], before.canary_of, names[1], after.canary_of),
    ]
    return [comparison for comparison in found if comparison is not None]


def compare_units(
    measure: Measure, before: str, earlier: Mapping[Unit, float], after: str, later: Mapping[Unit, float]
) -> Comparison | None:
    """Compare two evaluations, values by unit, over their common units; None if there are none."""
    common = [unit for unit in earlier if unit in later]
    if not common:
        return None
    left, right = [earlier[unit] for unit in common], [later[unit] for unit in common]
    difference, differences = paired_interval(left, right), paired_differences(left, right)
    return Comparison(
        measure=measure,
        before=before,
        after=after,
        n=len(common),
        left_out=len(earlier.keys() ^ later.keys()),
        before_mean=fmean(left),
        after_mean=fmean(right),
        difference=difference.within(-LARGEST[measure], LARGEST[measure]),
        p_value=sign_flip_p(differences),
        deviation=stdev(differences) if len(common) > 1 else None,
    )


def differing_similarity(ours: Settings, theirs: Settings) -> list[str]:
    """Return the names of differing settings that make the similarities of two runs incomparable."""
    return [name for name in SAME_SIMILARITY if _setting(ours, name) != _setting(theirs, name)]


def differing_answers(before: CheckpointTest, after: CheckpointTest) -> list[str]:
    """Return a text for each evaluation setting that differs and makes the answers of two checkpoints incomparable."""
    return _differences(before.how, after.how)


def _compare_answers(
    before: str, earlier: Sequence[QuestionResult], after: str, later: Sequence[QuestionResult]
) -> Comparison | None:
    found = compare_units("pass@1", before, _means(earlier), after, _means(later))
    return found and replace(found, chance=sampling_deviation([result.graded for result in later]))


def _means(results: Sequence[QuestionResult]) -> dict[Unit, float]:
    return {result.unit: result.pass_at_1 for result in results if result.pass_at_1 is not None}


def _reported_or_refuse(evaluations: Evaluations) -> Reported:
    reported, name = reported_checkpoint(evaluations), evaluations.run.name
    if reported is None:
        raise RunError(f"run {name} has no evaluation yet; run `duel evaluate --run {name}` first")
    return reported


def _differences(earlier: AskedHow | None, later: AskedHow | None) -> list[str]:
    if earlier is None or later is None:  # older files do not record the evaluation settings
        return []
    return earlier.differences(later)


def _setting(settings: Settings, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(settings, section), key)
