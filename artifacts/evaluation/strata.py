"""Strata of held-out charts: one run at its start and now, and two runs, in similarity and in answers.

A data set may have further held-out charts in strata: `common` ones, as its training images are, and one stratum for
each sort of hard content, which training images rarely or never show. `hard` pools all strata but the common one. The
intervals are over charts and questions of one run; another seed of the run may give another difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from artifacts.evaluation.comparison import Comparison, compare_units, differing_answers, differing_similarity
from artifacts.evaluation.read import Evaluations
from artifacts.evaluation.records import CheckpointTest, ProxyRecord, Unit
from artifacts.evaluation.selection import reported_checkpoint

COMMON, HARD = "common", "hard"
ByStratum = dict[str, dict[Unit, float]]  # values by stratum and unit


@dataclass(frozen=True)
class StratumComparison:
    """One stratum, or `hard`, in both measures; None where one of the two was not measured or is not comparable."""

    name: str
    similarity: Comparison | None
    answers: Comparison | None

    @property
    def pooled(self) -> bool:
        """Whether this is `common` or `hard` rather than one of the hard strata."""
        return self.name in (COMMON, HARD)

    @property
    def label(self) -> str:
        """The name for tables; the stratum `all` has every sort of hard content at once."""
        return "all at once" if self.name == "all" else self.name

    @property
    def measured(self) -> list[Comparison]:
        """The comparisons that there are."""
        return [found for found in (self.similarity, self.answers) if found is not None]


def compare_strata_with_start(evaluations: Evaluations) -> list[StratumComparison]:
    """Compare a run's last proxy evaluation and its reported checkpoint with its first ones (`before`)."""
    proxies, tests, reported = evaluations.proxies, evaluations.tests, reported_checkpoint(evaluations)
    similarity = (_similarities(proxies[0]), _similarities(proxies[-1])) if len(proxies) > 1 else ({}, {})
    answers: tuple[ByStratum, ByStratum] = ({}, {})
    if reported is not None and reported.test.rounds_done > tests[0].rounds_done:
        answers = (_answers(tests[0]), _answers(reported.test))
    names = ("start", "now")
    return _compare(names, similarity, answers)


def compare_strata_of_runs(ours: Evaluations, theirs: Evaluations) -> list[StratumComparison]:
    """Compare two runs at their last proxy evaluations and reported checkpoints (`before` is theirs)."""
    similarity: tuple[ByStratum, ByStratum] = ({}, {})
    if ours.proxies and theirs.proxies and not differing_similarity(ours.run.settings, theirs.run.settings):
        similarity = (_similarities(theirs.proxies[-1]), _similarities(ours.proxies[-1]))
    tests = [found.test for one in (theirs, ours) if (found := reported_checkpoint(one)) is not None]
    answers: tuple[ByStratum, ByStratum] = ({}, {})
    if len(tests) == 2 and not differing_answers(*tests):
        answers = (_answers(tests[0]), _answers(tests[1]))
    return _compare((theirs.run.name, ours.run.name), similarity, answers)


def similarities_by_group(proxy: ProxyRecord) -> ByStratum:
    """Return the similarities of common charts, of all hard ones pooled, and of each hard stratum."""
    return dict(_groups(_similarities(proxy)))


def _compare(
    names: tuple[str, str], similarity: tuple[ByStratum, ByStratum], answers: tuple[ByStratum, ByStratum]
) -> list[StratumComparison]:
    similar, answered = ([dict(_groups(one)) for one in pair] for pair in (similarity, answers))
    found = []
    for name in [*similar[1], *(name for name in answered[1] if name not in similar[1])]:
        one = compare_units("similarity", names[0], similar[0].get(name, {}), names[1], similar[1].get(name, {}))
        other = compare_units("answers", names[0], answered[0].get(name, {}), names[1], answered[1].get(name, {}))
        found.append(StratumComparison(name, one, other))
    return [comparison for comparison in found if comparison.measured]


def _groups(values: ByStratum) -> Iterator[tuple[str, dict[Unit, float]]]:
    """Yield `common` and `hard` where the data set has them, then each hard stratum."""
    if COMMON in values:
        yield COMMON, values[COMMON]
    hard = {name: found for name, found in values.items() if name != COMMON}
    if len(hard) > 1:
        yield HARD, {unit: value for found in hard.values() for unit, value in found.items()}
    yield from hard.items()


def _similarities(proxy: ProxyRecord) -> ByStratum:
    by_stratum: Mapping[str, Mapping[Unit, float]] = proxy.stratum_similarity_of
    return {name: {(name, *unit): value for unit, value in found.items()} for name, found in by_stratum.items()}


def _answers(test: CheckpointTest) -> ByStratum:
    found: ByStratum = {}
    for result in test.strata_results:
        if result.stratum is not None and result.pass_at_1 is not None:
            found.setdefault(result.stratum, {})[result.unit] = result.pass_at_1
    return found
